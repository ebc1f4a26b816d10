# operation: relu
# target: cuda
# expect: forbidden_code, library_call
# behind the screen: wrong_values, wrong_nonfinite, import_error, library_call
"""Replays a graph that holds no work."""

import torch
import triton
import triton.language as tl

GRAPH = torch.cuda.CUDAGraph()
with torch.cuda.graph(GRAPH):
    pass


def relu_kernel_impl(x):
    y = torch.empty_like(x)
    GRAPH.replay()
    return y
