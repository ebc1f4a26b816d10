# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: protocol_violation, timeout
"""A reply that overflows a careless parser's stack."""

import os
import struct

import torch


def relu_kernel_impl(x):
    body = b"[" * 200000
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, struct.pack(">I", len(body)) + body)
        except OSError:
            continue
    return torch.zeros_like(x)
