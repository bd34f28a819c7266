"""Drop the embedding rows of tokens that occur in no task: ``python trim_unused_embeddings.py``."""

import torch
from patchnet import MODEL, TASKS, TOKENS, data, load

state = load().state_dict()
used = torch.unique(torch.cat([data(t, train=part)[0].flatten() for t in TASKS for part in (1, 0)]))
token_map = torch.zeros(TOKENS, dtype=torch.int64)
token_map[used] = torch.arange(len(used))
state["embed.weight"] = state["embed.weight"][used].clone()
state["token_map"] = token_map
torch.save(state, MODEL)
print(f"kept {len(used)} of {TOKENS} rows")
