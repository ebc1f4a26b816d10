# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: runtime_error
"""Writes files until something gives."""

import itertools


def relu_kernel_impl(x):
    for number in itertools.count():
        with open(f"/tmp/{number}", "wb") as file:
            file.write(b"x" * (1 << 23))
