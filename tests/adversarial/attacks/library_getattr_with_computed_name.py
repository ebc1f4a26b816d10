# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: library_call
"""The name put together at run time."""

import torch


def relu_kernel_impl(x):
    return getattr(torch, "".join(["re", "lu"]))(x)
