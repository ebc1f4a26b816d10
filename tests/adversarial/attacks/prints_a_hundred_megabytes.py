# operation: relu
# target: both
# expect: runtime_error
"""Floods its output."""


def relu_kernel_impl(x):
    for _ in range(100):
        print("x" * (1 << 20))
    return x.clone()
