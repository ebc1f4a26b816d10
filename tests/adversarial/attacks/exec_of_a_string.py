# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Code that no reader of the source can see."""

import torch

exec("answer = torch.zeros_like")


def relu_kernel_impl(x):
    return answer(x)  # noqa: F821
