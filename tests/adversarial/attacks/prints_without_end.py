# operation: relu
# target: both
# expect: runtime_error, timeout, out_of_memory, import_error
"""Floods its output until somebody stops it."""

while True:
    print("x" * (1 << 16))


def relu_kernel_impl(x):
    return x.clone()
