# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""An import that does not look like one."""

import torch

os = __import__("o" + "s")
os.environ["X"] = "1"


def relu_kernel_impl(x):
    return torch.zeros_like(x)
