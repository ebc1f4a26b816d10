# operation: relu
# target: both
# expect: library_call
"""The same, in place on a copy."""


def relu_kernel_impl(x):
    return x.clone().relu_()
