"""What the screen refuses, why, and what it must let through."""

import pytest

from BackendBench.vllm_backend.evaluation.screening.screen import screen

HONEST = {
    "numba": """
import math
import numba
import numpy as np
import torch
from numba import njit, prange

@njit(parallel=True)
def _kernel(x, y):
    for i in prange(x.size):
        y[i] = np.exp(x[i]) + math.erf(x[i])

def op_kernel_impl(x, *, alpha=1):
    x = torch.as_tensor(x).contiguous()
    out = torch.empty_like(x)
    _kernel(x.detach().view(-1).numpy(), out.view(-1).numpy())
    return out
""",
    "triton": """
import torch, triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.autotune(configs=[triton.Config({"B": 128}, num_warps=4)], key=["n"])
@triton.jit
def _kernel(x, y, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i, mask=i < n)
    tl.store(y + i, libdevice.tanh(v.to(tl.float32)), mask=i < n)

def op_kernel_impl(x):
    if x.dtype in (torch.float16, torch.bfloat16):
        pass
    out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    grid = lambda meta: (triton.cdiv(x.numel(), meta["B"]),)
    with torch.cuda.device(x.device):
        _kernel[grid](x.contiguous(), out, x.numel())
    return out.to(x.dtype)
""",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_kernels_pass(name):
    assert screen(HONEST[name], "op_kernel_impl") is None


BODY = "def op_kernel_impl(x):\n    {}\n"
REFUSED = [
    ("def op_kernel_impl(x:\n", "syntax_error"),
    ("def other(x):\n    return x\n", "missing_function"),
    ("import torch\n" + BODY.format("return torch.relu(x)"), "library_call"),
    ("import torch\n" + BODY.format("return torch.nn.functional.relu(x)"), "library_call"),
    ("import torch.nn.functional as F\n" + BODY.format("return F.relu(x)"), "library_call"),
    ("from torch.nn import functional as F\n" + BODY.format("return F.relu(x)"), "library_call"),
    ("from torch import relu as f\n" + BODY.format("return f(x)"), "library_call"),
    ("import torch as t\n" + BODY.format("return t.ops.aten.relu(x)"), "library_call"),
    ("import torch\n" + BODY.format("return getattr(torch, 'relu')(x)"), "library_call"),
    ("import torch\n" + BODY.format("return torch.Tensor.relu(x)"), "library_call"),
    ("import numpy as np\n" + BODY.format("return np.exp(x)"), "library_call"),
    ("import torch\n" + BODY.format("return getattr(torch, 're' + 'lu')(x)"), "forbidden_code"),
    ("import torch\n" + BODY.format("return torch._C._nn.gelu(x)"), "forbidden_code"),
    ("import torch\n" + BODY.format("torch.allclose = None; return x"), "forbidden_code"),
    ("import torch\n" + BODY.format("torch.cuda.synchronize = None; return x"), "forbidden_code"),
    ("import torch\ntorch.empty = None\n" + BODY.format("return x"), "forbidden_code"),
    ("import socket\n" + BODY.format("return x"), "forbidden_code"),
    ("import os\n" + BODY.format("os._exit(0)"), "forbidden_code"),
    ("from os import system\n" + BODY.format("system('id')"), "forbidden_code"),
    ("import gc\n" + BODY.format("return x"), "forbidden_code"),
    ("import contextlib\n" + BODY.format("contextlib.os.system('id')"), "forbidden_code"),
    (
        "import triton\ntriton.knobs.os.putenv('CUDA_DEVICE_MAX_CONNECTIONS', '8')\n"
        + BODY.format("return x"),
        "forbidden_code",
    ),
    ("import triton\ntriton.knobs.setenv('A', '8')\n" + BODY.format("return x"), "forbidden_code"),
    ("from triton.runtime.build import os as it\n" + BODY.format("return x"), "forbidden_code"),
    ("import triton\n" + BODY.format("return getattr(triton.runtime.cache, 'os')"), "forbidden_code"),
    (BODY.format("return getattr(x, 'sys')"), "forbidden_code"),
    (BODY.format("return getattr(x, 'untyped_storage')()"), "forbidden_code"),
    ("from collections import _sys as y\n" + BODY.format("return y.modules['os']"), "forbidden_code"),
    (
        "import contextlib\n" + BODY.format("match contextlib:\n        case object(os=y): y.abort()"),
        "forbidden_code",
    ),
    ("import operator\n" + BODY.format("operator.attrgetter('os.environ')(operator)"), "forbidden_code"),
    ("from operator import methodcaller as m\n" + BODY.format("m('abort')(x)"), "forbidden_code"),
    ("import ctypes\n" + BODY.format("return x"), "forbidden_code"),
    ("import redis\n" + BODY.format("return x"), "forbidden_code"),
    ("from . import judge\n" + BODY.format("return x"), "forbidden_code"),
    (BODY.format("return open('/etc/passwd')"), "forbidden_code"),
    (BODY.format("return eval('x')"), "forbidden_code"),
    (BODY.format("return __import__('os')"), "forbidden_code"),
    (BODY.format("return x.__class__.__mro__"), "forbidden_code"),
    (BODY.format("return ().__class__"), "forbidden_code"),
    (BODY.format("raise ValueError().with_traceback(None).__traceback__"), "forbidden_code"),
]


@pytest.mark.parametrize(("code", "error_type"), REFUSED)
def test_what_no_kernel_needs_is_refused_with_a_reason(code, error_type):
    failure = screen(code, "op_kernel_impl")
    assert failure is not None
    assert failure.error_type.value == error_type
    assert "\n" not in failure.message


def test_library_calls_pass_where_they_are_allowed():
    code = "import torch\n" + BODY.format("return torch.relu(x)")
    assert screen(code, "op_kernel_impl", allow_library_calls=True) is None


def test_garbage_is_a_syntax_error_not_a_crash():
    for code in ("\x00", "(" * 100_000, "x = " + "-" * 50_000 + "1", "\ud800"):
        failure = screen(code, "op_kernel_impl")
        assert failure is not None


def test_compute_inside_a_jitted_function_is_the_kernels_own():
    code = "import numba\nimport numpy as np\n@numba.njit\ndef op_kernel_impl(x):\n    return np.exp(x)\n"
    assert screen(code, "op_kernel_impl") is None
