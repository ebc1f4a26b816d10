# operation: relu
# target: both
# expect: library_call
"""Another operation that gives the same answer."""


def relu_kernel_impl(x):
    return x.clamp(min=0)
