"""Extraction against real-looking outputs (``outputs/*.txt``) and against arbitrary text."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.extraction import LONGEST_CODE, Extracted, Unusable, extract
from BackendBench.vllm_backend.state.source import source_hash

OUTPUTS = Path(__file__).with_name("outputs")
EXPECTED: dict[str, dict[str, Any]] = json.loads((OUTPUTS / "expected.json").read_text("utf-8"))
FUNCTION = "relu_kernel_impl"


def read(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_bytes().decode("utf-8")


def test_every_output_has_an_expectation() -> None:
    assert {p.stem for p in OUTPUTS.glob("*.txt")} == set(EXPECTED)
    assert len(EXPECTED) >= 25


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_output(name: str) -> None:
    expected = EXPECTED[name]
    result = extract(read(name), FUNCTION, truncated=expected.get("truncated", False))
    if "reason" in expected:
        assert result is Unusable(expected["reason"])
        return
    assert isinstance(result, Extracted), result
    if "code" in expected:
        assert result.code == expected["code"]
    for part in expected.get("contains", []):
        assert part in result.code
    for part in expected.get("absent", []):
        assert part not in result.code
    assert result.alias_of == expected.get("alias_of", "")
    assert result.joined == expected.get("joined", False)
    compile(result.code, name, "exec")
    assert extract(result.code, FUNCTION) == Extracted(result.code)


def test_every_reason_is_reached() -> None:
    reached = {e["reason"] for e in EXPECTED.values() if "reason" in e}
    assert reached | {Unusable.TOO_LONG.value} == {reason.value for reason in Unusable}


def test_what_is_joined_runs() -> None:
    text = (
        "```python\nimport math\n```\n```python\ndef half(x):\n    return math.floor(x / 2)\n```\n"
        "```python\ndef relu_kernel_impl(x):\n    return half(x)\n```\n"
    )
    result = extract(text, FUNCTION)
    assert isinstance(result, Extracted)
    scope: dict[str, Any] = {}
    exec(result.code, scope)
    assert scope[FUNCTION](7) == 3


def test_an_alias_leaves_the_function_as_it_was() -> None:
    text = '```python\ndef my_relu(x):\n    return my_relu.__name__ if x else "my_relu"\n```'
    result = extract(text, FUNCTION)
    assert isinstance(result, Extracted)
    scope: dict[str, Any] = {}
    exec(result.code, scope)
    assert scope[FUNCTION](1) == "my_relu"


PIECES = st.sampled_from(
    [
        "```", "```python", "~~~", "````", "   ```py", "<think>", "</think>", "[THINK]", "<|im_end|>", "</s>",
        "\n", "\r\n", "import torch", "from __future__ import annotations", "def relu_kernel_impl(x):",
        "    return x", "def f(y):", "@triton.jit", "relu_kernel_impl = f", "    return g(x)", "def g(x): return x",
        "import a.b", "import a.c", "class A:", "Here is the code.", "It's", "\t", "\u200b", "\u00a0", "\x00",
        "\ud800", "é", '"""', "'", "(", "\\", "x = 1", "# c", ">",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=60), st.booleans(), st.booleans())
def test_never_raises_and_what_it_gives_parses(pieces: list[str], newlines: bool, truncated: bool) -> None:
    result = extract(("\n" if newlines else "").join(pieces), FUNCTION, truncated=truncated)
    if isinstance(result, Unusable):
        return
    tree = ast.parse(result.code)
    assert any(FUNCTION in ast.unparse(statement) for statement in tree.body)
    again = extract(result.code, FUNCTION)
    assert isinstance(again, Extracted) and again.code == result.code
    source_hash(result.code).encode("ascii")


@given(st.text())
def test_any_text(text: str) -> None:
    assert isinstance(extract(text, FUNCTION), Extracted | Unusable)


MEGABYTES = {
    "letters": "a" * 2_000_000,
    "lines": "word\n" * 400_000,
    "fences": "```\n" * 500_000,
    "opened fences": "```python\n" * 200_000,
    "backticks": "`" * 2_000_000,
    "thoughts": "<think>" * 300_000,
    "closed thoughts": "</think>x" * 200_000,
    "definitions": "```\ndef f(x):\n    return x\n```\n" * 60_000,
    "definition lines": "def relu_kernel_impl(x):\n" * 80_000,
    "parentheses": "```\n" + "(" * 1_000_000,
    "minus signs": "```\ndef relu_kernel_impl(x): return " + "-" * 90_000 + "x\n```",
    "sums": "```\ndef relu_kernel_impl(x): return " + "x+" * 45_000 + "x\n```",
    "ends": "</s> " * 400_000,
    "blanks": " " * 2_000_000 + "x",
    "indented": "```\n" + " " * 1_000_000,
    "end tokens": "<|im_end|>" * 200_000,
}


@pytest.mark.timeout(100)
@pytest.mark.parametrize("name", MEGABYTES)
def test_megabytes(name: str) -> None:
    """Seconds at most; a square law over such sizes would take hours and be ended as a hang."""
    result = extract(MEGABYTES[name], FUNCTION)
    assert isinstance(result, Unusable) or len(result.code) <= LONGEST_CODE


def test_too_long() -> None:
    body = "    x = x\n" * (LONGEST_CODE // 10 + 10)
    assert (
        extract(f"```python\ndef relu_kernel_impl(x):\n{body}    return x\n```", FUNCTION)
        is Unusable.TOO_LONG
    )
    assert extract(f"def relu_kernel_impl(x):\n{body}    return x\n", FUNCTION) is Unusable.TOO_LONG
