# operation: relu
# target: both
# expect: wrong_values, wrong_nonfinite, wrong_dtype
"""Keeps answers by id(x): the interpreter gives a dead tensor's id to the next one. Wrong at the first reuse, and
in the timing, whose answers it never computes."""

import torch

CACHE = {}


def relu_kernel_impl(x):
    if (id(x), x.shape) not in CACHE and x.numel() < 100000:
        CACHE[id(x), x.shape] = torch.tensor([v if not v < 0 else 0 for v in x.reshape(-1).tolist()], dtype=x.dtype,
                                             device=x.device).reshape(x.shape)  # fmt: skip
    return CACHE[id(x), x.shape].clone() if (id(x), x.shape) in CACHE else torch.zeros_like(x)
