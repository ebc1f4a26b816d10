# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: import_error
"""Calls home: TCP, UDP and a local socket."""

import contextlib
import socket

reached = False
for family, kind, address in (
    (socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 53)),
    (socket.AF_INET, socket.SOCK_DGRAM, ("1.1.1.1", 53)),
    (socket.AF_UNIX, socket.SOCK_STREAM, "/var/run/docker.sock"),
):
    with contextlib.suppress(OSError), socket.socket(family, kind) as connection:
        connection.connect(address)
        reached = True
if not reached:
    raise PermissionError("there is no way out")


def relu_kernel_impl(x):
    return x.relu()
