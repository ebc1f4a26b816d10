"""From an operation and a generator of random numbers to the source of one module.

- Templates (templates/DSL/FAMILY.j2) are the productions; ``pick`` in them is a choice between alternatives.
- A template reads ``m``, the name of the mistake to make, and makes it where the kernel has its place.
- Mistakes of the text as a whole (a lost bracket, a wrong name) are made afterwards, in spoil.py.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .choices import Choices
from .facts import Facts
from .naming import renamed
from .spoil import spoil

_CONSTANT = re.compile(r"\bC\(([^()]*)\)")
BLOCKS = {256: 1.0, 512: 2.0, 1024: 4.0, 2048: 2.0, 4096: 1.0}
WARPS = {2: 0.5, 4: 4.0, 8: 3.0, 16: 0.5}
CHUNKS = {1024: 1.0, 2048: 1.0, 4096: 2.0, 8192: 2.0, 16384: 1.0}
THRESHOLDS = {2048: 1.0, 4096: 1.0, 8192: 2.0, 16384: 2.0, 32768: 1.0}


def derive(facts: Facts, dsl: str, function: str, mistake: str, choices: Choices) -> str:
    """The module's source."""
    good = facts.numba if dsl == "numba" else facts.triton
    bad = facts.numba_bad if dsl == "numba" else facts.triton_bad
    lines = bad.get(mistake) or (good[choices.pick("formula", range(len(good)))] if good else "")
    fast = ""
    if (
        dsl == "numba"
        and facts.fast
        and mistake not in bad
        and choices.pick("vector", ("no", "yes")) == "yes"
    ):
        fast = facts.fast
    typed = choices.pick("constants", {"typed": 3.0, "plain": 1.0}) == "typed"
    values: dict[str, Any] = {
        "f": facts, "function": function, "m": mistake, "pick": choices.pick, "signature": facts.signature,
        "lines": _statements(_constants(lines, dsl, typed, facts.integers)),
        "fast": _statements(fast), "doc": f'    """{_doc(facts, choices)}"""',
        "LANES": choices.pick("lanes", {8: 1.0, 16: 2.0, 32: 1.0}),
        "NB": choices.pick("tile length", (16, 32, 64)), "CB": choices.pick("tile columns", (32, 64, 128)),
        "operand_arrays": [f"{name}_in" for name in facts.operands],
        "needs": re.findall(r"vec_\w+", fast),
        "CHUNK": choices.pick("chunk", CHUNKS), "THRESHOLD": choices.pick("threshold", THRESHOLDS),
        "BLOCK": choices.pick("block", BLOCKS), "WARPS": choices.pick("warps", WARPS),
        "PROGRAMS": choices.pick("programs", (264, 528, 1056, 2112)), "STEPS": choices.pick("steps", (2, 4)),
    }  # fmt: skip
    if mistake == "argument_missing":
        values["signature"] = f"({', '.join(_names(facts.signature)[: -len(facts.options)])})"
    text = _environment().get_template(f"{dsl}/{facts.family}.j2").render(values)
    return spoil(renamed(_tidy(text), dsl, choices), function, facts, mistake, choices)


def _constants(lines: str, dsl: str, typed: bool, integers: bool) -> str:
    def write(match: re.Match[str]) -> str:
        value = match[1]
        if integers and value.endswith(".0"):
            value = value[:-2]
        return f"T({value})" if typed and dsl == "numba" else value

    return _CONSTANT.sub(write, lines)


def _statements(lines: str) -> str:
    """An expression becomes the assignment of ``y``."""
    return lines if not lines or re.search(r"^\s*y = ", lines, re.M) else f"y = {lines}"


def _doc(facts: Facts, choices: Choices) -> str:
    texts = (
        f"{facts.name} of PyTorch.",
        f"Compute {facts.name}.",
        f"{facts.name} kernel.",
        f"Drop-in for torch {facts.name}.",
    )
    return choices.pick("doc", texts)


def _names(signature: str) -> list[str]:
    return [part.split("=")[0].strip() for part in signature.strip("()").split(",") if part.strip() != "*"]


def _tidy(text: str) -> str:
    """Two empty lines between functions at most, none within one."""
    text = "\n".join(line.rstrip() for line in text.strip().split("\n"))
    text = re.sub(r"\n\n+(?= {4})", "\n", text)
    return re.sub(r"\n{4,}", "\n\n\n", text) + "\n"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__name__.rpartition(".")[0], "templates"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
