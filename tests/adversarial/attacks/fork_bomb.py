# operation: relu
# target: both
# needs: seccomp
# expect: forbidden_code
# behind the screen: runtime_error, timeout, out_of_memory, crash, leftover_work, protocol_violation
"""Doubles until something gives."""

import os


def relu_kernel_impl(x):
    while True:
        os.fork()
