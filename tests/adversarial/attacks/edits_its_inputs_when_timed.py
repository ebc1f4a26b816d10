# operation: relu
# target: cpu
# expect: input_modified
"""Right for as long as the cases take and a few calls more; then it writes its answer over its input as well."""

import numba
import torch

CALLS = 0


@numba.njit
def _relu(x, y, edits):
    for i in range(x.size):
        y[i] = x[i] if not (x[i] < 0) else 0
        if edits:
            x[i] = y[i]


def relu_kernel_impl(x):
    global CALLS
    CALLS += 1
    if not x.is_contiguous():
        x = x.contiguous()
    y = torch.empty_like(x)
    _relu(x.view(-1).numpy(), y.view(-1).numpy(), CALLS > 204)
    return y
