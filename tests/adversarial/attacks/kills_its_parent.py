# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: import_error, crash, out_of_memory
"""Sends SIGKILL to whoever started it."""

import os
import signal

if os.getppid() == 0:
    raise PermissionError("the parent is out of sight")
os.kill(os.getppid(), signal.SIGKILL)


def relu_kernel_impl(x):
    return x.relu()
