# operation: relu
# target: cpu
# needs: seccomp
# expect: forbidden_code
# behind the screen: import_error
"""Moves itself to other cores and to a better place in the queue than eager has."""

import os

os.sched_setaffinity(0, range(1))
os.setpriority(os.PRIO_PROCESS, 0, -20)


def relu_kernel_impl(x):
    return x.relu()
