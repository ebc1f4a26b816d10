# operation: relu
# target: both
# expect: runtime_error
"""What sys.exit does."""


def relu_kernel_impl(x):
    raise SystemExit(0)
