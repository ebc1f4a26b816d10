# operation: relu
# target: both
# needs: seccomp
# expect: forbidden_code
# behind the screen: import_error
"""Attaches to every process that it can name, its parent first."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16
for pid in [os.getppid(), *range(1, 100)]:
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) == 0:
        break
else:
    raise PermissionError(os.strerror(ctypes.get_errno()))


def relu_kernel_impl(x):
    return x.relu()
