# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: crash, protocol_violation
"""Leaves the judge without an answer."""

import os


def relu_kernel_impl(x):
    os.closerange(0, 4096)
    return x.clone()
