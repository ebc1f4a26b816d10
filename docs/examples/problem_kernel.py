"""A candidate for problem.py, for a CPU: the whole ``forward`` in one Numba kernel.

    backendbench-vllm evaluate docs/examples/problem_kernel.py --problem docs/examples/problem.py

The layer is created as in ``Model``, so that both draw the same parameters; what it computes is done by the kernel.
"""

import math

import numba
import torch
from torch import nn


@numba.njit(parallel=True, fastmath={"contract", "reassoc"})
def _linear_silu_scale(x, weight, bias, scale, out):
    rows, width = x.shape
    columns = weight.shape[0]
    for row in numba.prange(rows):
        for column in range(columns):
            total = numba.float32(0.0)
            for k in range(width):
                total += x[row, k] * weight[column, k]
            total += bias[column]
            out[row, column] = total / (numba.float32(1.0) + math.exp(-total)) * scale


class Layer(nn.Module):
    """Holds the parameters of ``nn.Linear`` and draws them as it does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.empty(width))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(width)
        nn.init.uniform_(self.bias, -bound, bound)


class ModelNew(nn.Module):
    """x -> silu(linear(x)) * scale."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.linear = Layer(width)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        out = torch.empty(x.shape[0], self.linear.weight.shape[0])
        _linear_silu_scale(
            x.numpy(),
            self.linear.weight.detach().numpy(),
            self.linear.bias.detach().numpy(),
            self.scale,
            out.numpy(),
        )
        return out
