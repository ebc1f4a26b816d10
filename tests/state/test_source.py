"""Formatting and comments make no new kernel; anything that could change its behaviour does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.state.source import normalised_source, parse, source_hash

KERNEL = '''
"""A module."""
import numba
from numba import njit, prange


# a comment
@njit(parallel=True, fastmath={"nnan"})
def body(x, out, *, scale=1.5, **rest):
    """What it does."""
    for i in prange(x.size):
        out[i] = x[i] * scale if x[i] > 0 else -0.0  # relu
    return out, f"{i!r:>{4}}", b"raw", 1e400, 2j, ..., None, [j async for j in x] if 0 else x[1:2, ::-1]


class Cache:
    """Nothing but this."""


def relu_kernel_impl(x):
    y = x.contiguous().numpy()
    return body(y, y)
'''

NAMES = st.sampled_from(["x", "y", "out", "tl", "numba", "relu_kernel_impl"])
ATOMS = st.one_of(
    NAMES,
    st.integers(-(10**30), 10**30).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(max_size=8).map(repr),
    st.binary(max_size=4).map(repr),
    st.sampled_from(["None", "True", "..."]),
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "<", "and", "@", "-", "**"]), inner).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        ),
        st.tuples(NAMES, inner, inner).map(lambda p: f"{p[0]}({p[1]}, key={p[2]})"),
        st.tuples(NAMES, inner).map(lambda p: f"{p[0]}[{p[1]}]"),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.tuples(inner, inner).map(lambda p: f"(lambda x={p[0]}: {p[1]})"),
    ),
    max_leaves=8,
)
STATEMENTS = st.one_of(
    st.tuples(NAMES, EXPRESSIONS).map(lambda p: f"{p[0]} = {p[1]}"),
    EXPRESSIONS.map(lambda e: f"return {e}"),
    st.tuples(EXPRESSIONS, NAMES, EXPRESSIONS).map(lambda p: f"if {p[0]}:\n        {p[1]} = {p[2]}"),
)
BODIES = st.lists(STATEMENTS, min_size=1, max_size=6)


def program(statements: list[str]) -> str:
    return "def relu_kernel_impl(x):\n" + "".join(f"    {s}\n" for s in statements)


@given(BODIES)
def test_another_formatting_is_the_same_kernel(statements: list[str]) -> None:
    code = program(statements)
    assert source_hash(ast.unparse(ast.parse(code))) == source_hash(code)


@given(
    BODIES,
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=20)),
)
def test_comments_blank_lines_and_docstrings_make_no_new_kernel(
    statements: list[str], notes: list[str]
) -> None:
    code = program(statements)
    noted = code
    for place, note in enumerate(notes):
        lines = noted.splitlines()
        at = place * 7 % (len(lines) + 1)
        if at < 1 or not lines[at - 1].rstrip().endswith("\\"):
            lines.insert(at, f"# {note}")
            lines.insert(at, "")
        noted = "\n".join(lines)
    noted = noted.replace("(x):\n", '(x):\n    """Documented."""\n', 1)
    assert source_hash(noted + "\n") == source_hash(code)


@given(BODIES, BODIES)
def test_two_programs_have_one_hash_only_when_their_trees_agree(one: list[str], other: list[str]) -> None:
    trees = [ast.dump(ast.parse(program(statements))) for statements in (one, other)]
    hashes = [source_hash(program(statements)) for statements in (one, other)]
    assert (trees[0] == trees[1]) == (hashes[0] == hashes[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 0.0", "x = -0.0"),
        ("x = '1'", "x = b'1'"),
        ("x = 'a b'", "x = 'a  b'"),
        ("x = None", "x = 0"),
        ("x = a + b", "x = b + a"),
        ("x = a - (b - c)", "x = a - b - c"),
        ("x = 1", "y = 1"),
        ("def f(a, b): pass", "def f(a, /, b): pass"),
        ("def f(a, b): pass", "def f(a, *, b): pass"),
        ("def f(a): return", "def f(a=None): return"),
        ("f(*a)", "f(a)"),
        ("f(**a)", "f(*a)"),
        ("x[1:]", "x[:1]"),
        ("def f(): 'doc'; 'second'", "def f(): 'doc'"),
        ("'doc'\nx = 'doc'", "x = ''"),
        ("f'{x}'", "f'{x!r}'"),
        ("f'{x}'", "'{x}'"),
        ("async def f(): pass", "def f(): pass"),
        ("@a\n@b\ndef f(): pass", "@b\n@a\ndef f(): pass"),
        ("x: int = 1", "x: float = 1"),
        ("from a import b", "from .a import b"),
        ("if a:\n  b\nelse:\n  c", "if a:\n  b\nc"),
        ("for i in a: b", "while a: b"),
        ("(", ")"),
        ("return return", "return break"),
    ],
)
def test_what_differs_in_meaning_differs(one: str, other: str) -> None:
    assert source_hash(one) != source_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x=1", "x = (1)  # one"),
        ("x = 'a'", 'x = "a"'),
        ("x = 'a' 'b'", "x = 'ab'"),
        ("x = u'a'", "x = 'a'"),
        ("x = 16", "x = 0x10"),
        ("x = 1_000.0", "x = 1e3"),
        ("f(a, b)", "f(\n    a,\n    b,\n)"),
        ("def f():\n\t'doc'\n\treturn 1", "def f(): return 1"),
        ("def f():\n    'doc'", "def f(): pass"),
        ("'a module'\nx = 1", "x = 1"),
        ("x = 1\r\ny = 2", "x = 1\ny = 2"),
        ("x = 1; y = 2", "x = 1\ny = 2"),
        ("def f(  :", "def  f( :\n"),
    ],
)
def test_what_is_only_written_differently_does_not(one: str, other: str) -> None:
    assert source_hash(one) == source_hash(other)


@given(st.text())
def test_any_text_has_a_hash(text: str) -> None:
    assert len(source_hash(text)) == 64
    assert source_hash(text) == source_hash(text)


@pytest.mark.parametrize(
    "text", ["\0", "\ud800", "x = '\ud800'", "(" * 5000, "x" + "+x" * 50_000, "9" * 10_000]
)
def test_hostile_text_has_a_hash(text: str) -> None:
    assert len(source_hash(text)) == 64


def test_a_warning_of_the_compiler_is_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    parse("x = '\\d'; 1 is 1")
    assert not recwarn.list


def test_the_hash_does_not_depend_on_the_version_of_python() -> None:
    """Workers with different versions share one store. The value was the same under 3.10, 3.11, 3.12 and 3.13."""
    assert source_hash(KERNEL) == "42ca4e035e9157fdefc5385d13bad02b9b62c968f4f3b6a0088b2d96d36c239b"


def test_the_hash_does_not_depend_on_the_process() -> None:
    program = (
        "import sys; from BackendBench.vllm_backend.state.source import source_hash as h;"
        "print(h(sys.stdin.read()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=KERNEL, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env={"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert done.stdout.strip() == source_hash(KERNEL)
    assert normalised_source(KERNEL).startswith("(Module body=[,(Import ")
