"""NumPy computing outside jitted functions, and what only looks like it."""

import ast

import pytest

from BackendBench.vllm_backend.evaluation.screening.array_arithmetic import find


def found(body: str, more: str = "") -> str:
    code = f"import numpy as np\n{more}\ndef op_kernel_impl(a, b):\n" + "".join(
        f"    {line}\n" for line in body.splitlines()
    )
    result = find(ast.parse(code), {"_jitted"})
    return result[1] if result else ""


@pytest.mark.parametrize(
    "body",
    [
        "return a.numpy() @ b.numpy()",
        "x = a.numpy()\nreturn x * 2",
        "x, y = a.numpy(), b.numpy()\nreturn x + y",
        "x = a.detach().contiguous().numpy().reshape(-1)\nreturn x.clip(0)",
        "x = np.asarray(a.numpy())\nreturn x.dot(x)",
        "x = a.numpy()\nx += 1\nreturn x",
        "x = a.numpy()\nreturn -x",
        "x = a.numpy()\nreturn x > 0",
        "x = a.numpy()\nreturn x.T @ x",
        "x = a.numpy()\nreturn x[1:] - x[:-1]",
        "if (x := a.numpy()) is not None:\n    return x.sum()",
        "return helper(a.numpy())",
    ],
)
def test_computing_is_found(body: str) -> None:
    assert found(body, "def helper(v):\n    return v.max()\n")


@pytest.mark.parametrize(
    "body",
    [
        "x = a.numpy()\n_jitted(x, x.size // 2)\nreturn a",
        "n = a.numpy().shape[0] * 2\nreturn n",
        "x = a.numpy().astype('float32').reshape(-1).copy()\nreturn x",
        "x = a.numpy()\nif x is None or x.ndim == 2:\n    return x",
        "x = b.numpy()\nlast = x[-1] + 1\nreturn last",
        "strides = np.zeros(3)\nstrides[0] = strides[1] * 2\nreturn strides",
        "return a.reshape(-1) if a.dim() > 1 else a",
    ],
)
def test_a_wrappers_work_is_let_through(body: str) -> None:
    assert found(body, "def _jitted(x, n):\n    return x * n\n") == ""
