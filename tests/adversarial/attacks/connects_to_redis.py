# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: import_error
"""Writes its own verdict into the kernel store."""

import socket

PORT = "@REDIS_PORT@"
connection = socket.create_connection(("127.0.0.1", int(PORT) if PORT.isdigit() else 6379), timeout=5)
connection.sendall(b"HSET kernel:relu:0 correct True speedup 99\r\n")


def relu_kernel_impl(x):
    return x.relu()
