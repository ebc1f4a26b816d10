# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Replaces the judge's own functions, in the wrong process."""

import torch

from BackendBench.vllm_backend.evaluation.correctness import outputs
from BackendBench.vllm_backend.evaluation.screening import screen
from BackendBench.vllm_backend.operations import tolerances

outputs.check_case = outputs.compare = outputs.contract = outputs.roughly_equal = lambda *args: None
screen.screen = tolerances.compare_outputs = lambda *args: None


def relu_kernel_impl(x):
    return torch.zeros_like(x)
