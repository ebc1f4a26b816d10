# operation: relu
# target: both
# expect: library_call
"""The operation under the name of a method."""


def relu_kernel_impl(x):
    return x.relu()
