# operation: relu
# target: both
# expect: timeout
"""Never answers."""


def relu_kernel_impl(x):
    while True:
        pass
