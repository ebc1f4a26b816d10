# operation: relu
# target: both
# expect: wrong_values, wrong_nonfinite, library_call
"""Computes a shape only once."""

import torch

CACHE = {}


def relu_kernel_impl(x):
    key = (x.shape, x.dtype)
    if key not in CACHE:
        CACHE[key] = torch.tensor([v if not v < 0 else 0 for v in x.reshape(-1).tolist()], dtype=x.dtype,
                                  device=x.device).reshape(x.shape)  # fmt: skip
    return CACHE[key].clone()
