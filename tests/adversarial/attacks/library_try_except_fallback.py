# operation: relu
# target: both
# expect: library_call
# behind the screen: library_call
"""A kernel that never works and a fallback that always does."""

import torch


def _kernel(x):
    raise NotImplementedError


def relu_kernel_impl(x):
    try:
        return _kernel(x)
    except Exception:
        return torch.relu(x)
