# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: protocol_violation, crash
"""Writes a frame of its own to every socket and leaves with exit code 0."""

import json
import os
import socket
import struct

import torch


def relu_kernel_impl(x):
    body = json.dumps({"id": "0" * 16, "results": [], "correct": True, "speedup": 100.0}).encode()
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, struct.pack(">I", len(body)) + body)
        except OSError:
            continue
    os._exit(0)
