# operation: relu
# target: both
# expect: runtime_error
"""An exception whose text is a megabyte."""


def relu_kernel_impl(x):
    raise ValueError("x" * (1 << 20))
