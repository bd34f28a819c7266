"""Drop the embedding rows of tokens that next to never occur: ``python trim_unused_embeddings.py``.

Tokens seen fewer than ten times in the training data of all tasks share row 0 from then on.
"""

import torch
from patchnet import MODEL, TASKS, TOKENS, data, load

RARE = 10

state = load().state_dict()
seen = torch.cat([data(task, train=True)[0].flatten() for task in TASKS])
used = torch.nonzero(torch.bincount(seen, minlength=TOKENS) >= RARE).flatten()
token_map = torch.zeros(TOKENS, dtype=torch.int64)
token_map[used] = torch.arange(len(used))
state["embed.weight"] = state["embed.weight"][used].clone()
state["token_map"] = token_map
torch.save(state, MODEL)
print(f"kept {len(used)} of {TOKENS} rows")
