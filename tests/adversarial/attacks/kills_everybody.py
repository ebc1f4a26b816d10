# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: import_error, crash, out_of_memory
"""Sends SIGKILL to all processes that it may, and to every number that the judge may have."""

import contextlib
import os
import signal

for pid in (-1, *range(2, 5000)):
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
raise PermissionError("everybody is out of reach")


def relu_kernel_impl(x):
    return x.relu()
