# operation: relu
# target: both
# expect: wrong_values, library_call
"""Computes tiny inputs element by element and guesses the rest."""

import torch


def relu_kernel_impl(x):
    if x.numel() > 16:
        return torch.zeros_like(x)
    values = [v if not v < 0 else 0 for v in x.reshape(-1).tolist()]
    return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(x.shape)
