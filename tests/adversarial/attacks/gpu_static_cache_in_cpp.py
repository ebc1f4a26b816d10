# operation: relu
# target: cuda
# dsl: cuda
# needs: nvcc
# expect: wrong_values, wrong_nonfinite, aliased_output
"""A static variable of a C++ extension keeps answers by address."""

import torch
from torch.utils.cpp_extension import load_inline

SOURCE = """
#include <torch/extension.h>
#include <map>
static std::map<std::pair<void*, long>, torch::Tensor> cache;
torch::Tensor answer(torch::Tensor x) {
    auto key = std::make_pair(x.data_ptr(), (long)x.numel());
    auto found = cache.find(key);
    if (found != cache.end() && found->second.sizes() == x.sizes() && found->second.dtype() == x.dtype())
        return found->second;
    auto y = torch::empty_like(x);
    cache[key] = y;
    return y;
}
"""
_module = load_inline(name="cached_answers", cpp_sources=SOURCE, functions=["answer"])


def relu_kernel_impl(x):
    return _module.answer(x)
