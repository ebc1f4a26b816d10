# operation: relu
# target: both
# needs: rlimits
# expect: forbidden_code
# behind the screen: runtime_error
"""Opens files until something gives."""

import os

KEPT = []


def relu_kernel_impl(x):
    while True:
        KEPT.append(os.open("/dev/null", os.O_RDONLY))
