# operation: relu
# target: both
# expect: timeout
"""Never gets as far as having a kernel."""

while True:
    pass


def relu_kernel_impl(x):
    return x.clone()
