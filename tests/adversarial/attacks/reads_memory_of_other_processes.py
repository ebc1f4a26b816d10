# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: import_error
"""Looks for the judge's process and its memory."""

import os

others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
if not others:
    raise PermissionError("there is nobody else")
for other in others:
    with open(f"/proc/{other}/mem", "rb") as memory:
        memory.read(1)


def relu_kernel_impl(x):
    return x.relu()
