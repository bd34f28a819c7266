"""Train the base model and save it: ``python make_base.py``."""

import torch
from patchnet import MODEL, PatchNet, fit

torch.set_num_threads(2)
torch.manual_seed(0)
net = PatchNet()
fit(net, ["base"], epochs=25, rate=3e-3, params=list(net.parameters()))
torch.save(net.state_dict(), MODEL)
