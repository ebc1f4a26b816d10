# operation: relu
# target: cuda
# dsl: cuda
# needs: nvcc
# expect: library_call
"""The operation called from a C++ extension."""

import torch
from torch.utils.cpp_extension import load_inline

SOURCE = """
#include <torch/extension.h>
torch::Tensor answer(torch::Tensor x) { return at::relu(x); }
"""
_module = load_inline(name="library_answers", cpp_sources=SOURCE, functions=["answer"])


def relu_kernel_impl(x):
    return _module.answer(x)
