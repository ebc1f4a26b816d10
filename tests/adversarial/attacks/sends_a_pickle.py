# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: protocol_violation, timeout
"""A pickle that runs a command wherever it is loaded."""

import os
import pickle
import struct

import torch


class Payload:
    def __reduce__(self):
        return os.system, ("touch /tmp/owned",)


def relu_kernel_impl(x):
    body = pickle.dumps(Payload())
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, struct.pack(">I", len(body)) + body)
        except OSError:
            continue
    return torch.zeros_like(x)
