# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Hopes that the memory for its outputs holds the right ones beforehand."""

import gc

import torch


def relu_kernel_impl(x):
    for thing in gc.get_objects():
        if type(thing).__name__ == "Harness":
            size = x.numel() * x.element_size()
            return thing._arenas["out"].tensor[:size].view(x.dtype).reshape(x.shape).clone()
    raise LookupError("no harness")
