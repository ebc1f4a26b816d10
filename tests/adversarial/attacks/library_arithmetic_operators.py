# operation: relu
# target: both
# expect: library_call
"""Torch computes behind operators, too."""


def relu_kernel_impl(x):
    return x * (x > 0)
