# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Fills the memory for its outputs with zeros and keeps the harness from writing there."""

import sys

import torch

harness = sys.modules["BackendBench.vllm_backend.evaluation.candidate.harness"]
harness.Harness._copy_out = lambda self, tensor, place: self._arenas["out"].tensor.zero_()


def relu_kernel_impl(x):
    return torch.empty_like(x)
