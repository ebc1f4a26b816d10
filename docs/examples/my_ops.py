"""Operations of your own: a reference, a generator of inputs and, if you like, one of workloads.

    backendbench-vllm run --operations docs/examples/my_ops.py:scaled_relu,docs/examples/my_ops.py:geglu
    backendbench-vllm evaluate kernel.py --operation docs/examples/my_ops.py:scaled_relu

A candidate is a module that defines ``scaled_relu_kernel_impl`` with the parameters of ``scaled_relu``. The docstring
of the reference goes into the prompt. The file may import torch and anything installed, but none of its neighbours:
it travels to other machines as text.
"""

import torch


def scaled_relu(x, scale=1.0):
    """max(x, 0) * scale for every element of a tensor of any shape."""
    return torch.relu(x) * scale


def scaled_relu_inputs(seed, device):
    """The correctness cases: ``(args, kwargs)``, with a name in front if it says more than the shapes do.

    The generators of torch are seeded with ``seed`` before this runs; shapes must not depend on it.
    """
    for shape in ((1,), (1023,), (33, 65), (0, 7), (257, 1031)):
        yield (torch.randn(shape, device=device), 0.5), {}
    yield "transposed", (torch.randn(65, 33, device=device).t(),), {"scale": -2.0}
    yield "NaN stays NaN", (torch.tensor([float("nan"), -1.0, float("inf")], device=device),), {"scale": 3.0}


def scaled_relu_workloads(seed, device):
    """What is timed; without this function it is the largest case. A CPU gets fewer tokens than a GPU."""
    tokens = 128 if device.type == "cpu" else 4096
    yield "MLP activation of a 7B model", (torch.randn(tokens, 11008, device=device), 0.5), {}


def geglu(x, gate):
    """x * gelu(gate), with the exact gelu: gate * Phi(gate)."""
    return x * torch.nn.functional.gelu(gate)


def geglu_inputs(seed, device):
    """Two tensors of one shape."""
    for shape in ((5,), (33, 65), (3, 17, 129), (255, 2049)):
        yield (torch.randn(shape, device=device), torch.randn(shape, device=device)), {}
