# operation: relu
# target: cpu
# expect: forbidden_code
# behind the screen: library_call
"""Plain Python, and so torch, from inside a jitted function."""

import numba
import torch

OUT = []


@numba.njit
def _relu():
    with numba.objmode():
        OUT[0] = torch.relu(OUT[0])


def relu_kernel_impl(x):
    OUT[:] = [x]
    _relu()
    return OUT.pop()
