# operation: relu
# target: both
# needs: seccomp
# expect: forbidden_code
# behind the screen: import_error
"""The system call that reads another process's memory."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 8)
if libc.process_vm_readv(max(1, os.getppid()), vector, 1, vector, 1, 0) < 0:
    raise PermissionError(os.strerror(ctypes.get_errno()))


def relu_kernel_impl(x):
    return x.relu()
