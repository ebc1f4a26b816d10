# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: import_error, crash, out_of_memory, wrong_values
"""Kills who started it, with what a harmless module has imported."""

import contextlib

import torch

contextlib.os.kill(contextlib.os.getppid(), 9)


def relu_kernel_impl(x):
    return torch.zeros_like(x)
