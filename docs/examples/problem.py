"""A problem in the format of KernelBench: ``Model``, ``get_inputs`` and ``get_init_inputs``.

    backendbench-vllm evaluate candidate.py --problem docs/examples/problem.py

A candidate is a module that defines ``ModelNew`` with the same constructor and the same ``forward``. Parameters of
both are drawn from the same seed, so a candidate keeps the names and the order of its layers.
"""

import torch
from torch import nn

TOKENS = 256
WIDTH = 1024


class Model(nn.Module):
    """A linear layer, then x * sigmoid(x), then a scale."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x)
        return x * torch.sigmoid(x) * self.scale


def get_inputs():
    """Arguments of one ``forward``; made on the device that is being judged."""
    return [torch.randn(TOKENS, WIDTH)]


def get_init_inputs():
    """Arguments of the constructor."""
    return [WIDTH, 0.5]
