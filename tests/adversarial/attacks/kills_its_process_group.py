# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: import_error, crash, out_of_memory
"""Sends SIGKILL to its own group, to which a careless judge would belong."""

import os
import signal

os.kill(0, signal.SIGKILL)
raise PermissionError("the group has nobody else")


def relu_kernel_impl(x):
    return x.relu()
