# operation: relu
# target: both
# expect: import_error
"""The same before there is a kernel."""


def relu_kernel_impl(x):
    return x.clone()


raise SystemExit(0)
