# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: leftover_work, timeout
"""A thread spins on after the call, and the harness's count of threads is made to say nothing."""

import _thread

import torch

_thread._count = lambda: 0


def _spin():
    while True:
        pass


_thread.start_new_thread(_spin, ())


def relu_kernel_impl(x):
    values = [v if not v < 0 else 0 for v in x.reshape(-1).tolist()]
    return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(x.shape)
