# operation: matmul
# target: cpu
# expect: library_call
# behind the screen: slower, accepted
"""NumPy's own matrix product behind an operator."""

import torch


def matmul_kernel_impl(a, b):
    left, right = a.numpy(), b.numpy()
    return torch.as_tensor(left @ right, dtype=a.dtype)
