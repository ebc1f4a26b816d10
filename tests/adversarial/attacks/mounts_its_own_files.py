# operation: relu
# target: both
# needs: seccomp
# expect: forbidden_code
# behind the screen: import_error
"""Makes itself a new namespace in which it is root, and mounts what it likes."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
    raise PermissionError(os.strerror(ctypes.get_errno()))


def relu_kernel_impl(x):
    return x.relu()
