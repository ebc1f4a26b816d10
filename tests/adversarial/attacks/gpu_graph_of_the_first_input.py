# operation: relu
# target: cuda
# expect: forbidden_code, library_call
# behind the screen: wrong_values, wrong_nonfinite, runtime_error, library_call, timeout
"""Captures the first call of every shape and replays it for all others."""

import torch
import triton
import triton.language as tl


@triton.jit
def _relu(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, tl.where(v < 0, tl.zeros_like(v), v), mask=i < n)


def _compute(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        _relu[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y


GRAPHS = {}


def relu_kernel_impl(x):
    key = (x.shape, x.dtype)
    if key not in GRAPHS:
        _compute(x)
        torch.cuda.synchronize()
        kept, graph = x.clone(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = _compute(kept)
        GRAPHS[key] = (graph, y)
    graph, y = GRAPHS[key]
    graph.replay()
    return y.clone()
