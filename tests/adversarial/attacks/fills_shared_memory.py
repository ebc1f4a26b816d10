# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: runtime_error
"""The same in /dev/shm, where the farm's own buffers would be."""

import itertools


def relu_kernel_impl(x):
    for number in itertools.count():
        with open(f"/dev/shm/{number}", "wb") as file:
            file.write(b"x" * (1 << 23))
