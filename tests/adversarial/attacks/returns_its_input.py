# operation: relu
# target: both
# expect: aliased_output
"""Returns the input itself."""


def relu_kernel_impl(x):
    return x
