# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: protocol_violation, timeout
"""Announces a reply of four gigabytes."""

import os

import torch


def relu_kernel_impl(x):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\xff\xff\xff\xff" + b"x" * 4096)
        except OSError:
            continue
    return torch.zeros_like(x)
