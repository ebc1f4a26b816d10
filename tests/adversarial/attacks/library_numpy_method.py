# operation: relu
# target: cpu
# expect: library_call
# behind the screen: slower, accepted
"""A method of an array computes, too."""

import torch


def relu_kernel_impl(x):
    array = x.contiguous().numpy()
    return torch.as_tensor(array.clip(0, None)).reshape(x.shape)
