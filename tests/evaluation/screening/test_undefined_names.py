"""What is found is what Python would find, whatever else the module does."""

from __future__ import annotations

import ast
import importlib.util
import random
import sys
from typing import Any

import pytest

from BackendBench.vllm_backend.evaluation.candidate.loading import LoadFailure, load_module
from BackendBench.vllm_backend.evaluation.screening.screen import screen
from BackendBench.vllm_backend.evaluation.screening.undefined_names import undefined_at_import
from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.state.error_type import ErrorType
from tests.adversarial import candidate_files


def found(code: str) -> str | None:
    name = undefined_at_import(code, ast.parse(code))
    return None if name is None else name.id


def pythons(code: str) -> str | None:
    """The name that Python does not find."""
    try:
        exec(compile(code, "candidate", "exec", dont_inherit=True), {"__name__": "candidate"})
    except NameError as error:
        return error.name
    return None


@pytest.mark.parametrize(
    "code",
    [
        "@triton.jit\ndef f(x):\n    pass\n",
        "def f(x, BLOCK: tl.constexpr):\n    pass\n",
        "def f(x, size=SIZE):\n    pass\n",
        "def f(x, *, size=SIZE[0] + 1):\n    pass\n",
        "class A(Base):\n    pass\n",
        "SIZES = [math.pi, 2]\n",
        "print(f'{here}')\n",
        "y = (1 if asked else 2)\n",
        "y = asked and other\n",
        "def f():\n    x = 1\n\ny = x\n",
    ],
)
def test_a_name_that_nothing_binds_is_found(code: str) -> None:
    assert found(code) == pythons(code) is not None


@pytest.mark.parametrize(
    "code",
    [
        "from __future__ import annotations\ndef f(x: tl.constexpr):\n    pass\n",
        "def f(x: 'tl.constexpr'):\n    return nothing\n",
        "x = 1 if True else nothing\n",
        "x = True or nothing\n",
        "f = lambda: nothing\n",
        "x = [nothing for _ in ()]\n",
        "if False:\n    nothing\n",
        "try:\n    nothing\nexcept NameError:\n    pass\n",
        "from math import *\nx = pi\n",
        "def g():\n    global x\n    x = 1\n\ng()\ny = x\n",
        "for i in range(2):\n    pass\ny = i\n",
        "with open('/dev/null') as f:\n    pass\ny = f\n",
        "if (n := 3) > 2:\n    pass\ny = n\n",
        "import os.path as p\nx = p\n",
        "[last := i for i in range(3)]\nx = last\n",
        "x = __name__, __doc__, len\n",
        "x = 1 < 2 > 0 and 3\n",
        "x = 2 < 1 < nothing\n",
        "class A:\n    y = 1\n    z = y\n",
    ],
)
def test_what_is_bound_or_may_never_be_looked_up_is_not(code: str) -> None:
    assert found(code) is None
    assert pythons(code) is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
@pytest.mark.parametrize("code", ["def f[T](x: T) -> T:\n    return x\n", "class A[T](list[T]):\n    pass\n"])
def test_a_parameter_for_types_is_bound_by_its_statement(code: str) -> None:
    assert found(code) is None
    assert pythons(code) is None


def test_no_honest_kernel_lacks_a_name() -> None:
    controls = [*candidate_files.load("controls", "cpu"), *candidate_files.load("controls", "cuda")]
    assert len(controls) > 60
    assert not [one.name for one in controls if found(one.code) is not None]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="executes Triton modules")
def test_a_forgotten_import_of_the_grammars_is_one() -> None:
    rng, seen = random.Random(3), 0
    for _ in range(40):
        written: Any = grammar.write_with(
            "relu", "triton", "cuda", Choices(rng), rng, mistake="import_forgotten"
        )
        name = found(written.code)
        if name is not None:
            seen += 1
            with pytest.raises(LoadFailure, match=f"name '{name}' is not defined"):
                load_module(written.code, "candidate")
    assert seen > 5


def test_the_screen_says_what_is_missing_and_where() -> None:
    code = "import torch\n\n\ndef relu_kernel_impl(x, size=SIZE):\n    return torch.empty_like(x)\n"
    failure = screen(code, "relu_kernel_impl")
    assert failure is not None
    assert failure.error_type is ErrorType.IMPORT_ERROR
    assert failure.message == (
        "NameError: name 'SIZE' is not defined\n  at line 4: def relu_kernel_impl(x, size=SIZE):"
    )
