# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Makes eager agree by changing eager."""

import torch

torch.relu = torch.nn.functional.relu = torch.zeros_like


def relu_kernel_impl(x):
    return torch.zeros_like(x)
