# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: crash
"""An orderly exit in the middle of a call."""

import os


def relu_kernel_impl(x):
    os._exit(0)
