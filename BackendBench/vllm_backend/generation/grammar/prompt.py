"""What the grammar reads of a prompt: what is asked for, which errors were shown, what the best kernels look like.

- Only lines outside of code blocks say something of the task; code blocks are exemplars and failed attempts.
- Hints come from exemplars faster than eager, the best one winning.
- Never raises: what cannot be read is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

FAST = 1.0
"""Speedup above which an exemplar is worth imitating."""
_FENCE = re.compile(r"^(`{3,})")
_LINES = {"operation": "Operation: ", "dsl": "DSL: ", "target": "Target: ", "signature": "Signature: "}
_NUMBERS: tuple[tuple[str, str], ...] = (
    ("block", r"\bBLOCK(?:_SIZE)?=(\d+)|\bXBLOCK=(\d+)"),
    ("warps", r"num_warps=(\d+)"),
    ("tile m", r"\bBLOCK_M=(\d+)"),
    ("tile n", r"\bBLOCK_N=(\d+)"),
    ("tile k", r"\bBLOCK_K=(\d+)"),
    ("stages", r"num_stages=(\d+)"),
    ("threshold", r"numel\(\) < (\d+)"),
    ("chunk", r"// (1024|2048|4096|8192|16384)\b"),
)
_SIGNS: tuple[tuple[str, str, str], ...] = (
    ("flat style", "autotune", r"@triton\.autotune"),
    ("flat style", "persistent", r"tl\.num_programs"),
    ("flat style", "steps", r"tl\.static_range"),
    ("row style", "one block", r"next_power_of_2"),
    ("row style", "online", r"running maximum"),
    ("tile style", "grouped", r"GROUP"),
    ("loop", "dual", r"_serial|if \w+\.numel\(\) <"),
    ("loop", "chunks", r"numba\.prange\(blocks\)"),
    ("loop", "flat", r"numba\.prange\(\w+\.size\)"),
    ("vector", "yes", r"\bvec_exp\b|\bvec_\w+\("),
    ("sums", "reassoc", r"reassoc"),
    ("sums", "lanes", r"\blanes\b"),
    ("order", "blocked", r"\btiles = \(rows"),
    ("order", "ikj", r"line\[j\] \+= v"),
    ("axis style", "columns", r"column_kernel"),
)


@dataclass(frozen=True)
class Asked:
    """A prompt, read."""

    operation: str = ""
    dsl: str = ""
    target: str = ""
    function: str = ""
    """Name of the function that the module defines."""
    errors: tuple[str, ...] = ()
    """Error classes of the failures shown, each once."""
    hints: Mapping[str, str | int] = field(default_factory=dict)
    """Choices that the best exemplar has made, by name."""


def read(user: str) -> Asked:
    """The user's message of prompts/user.j2, read."""
    found: dict[str, str] = {}
    errors: list[str] = []
    exemplars: list[tuple[float, str]] = []
    speedup: float | None = None
    block: list[str] = []
    fence = ""
    for line in user.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            if line.strip() == fence:
                if speedup is not None:
                    exemplars.append((speedup, "\n".join(block)))
                fence, speedup = "", None
            else:
                block.append(line)
        elif mark:
            fence, block = mark[1], []
        elif line.startswith("Error class: "):
            errors.append(line.removeprefix("Error class: ").strip())
        elif line.startswith("Speedup: "):
            speedup = _number(line.removeprefix("Speedup: "))
        else:
            for key, start in _LINES.items():
                if line.startswith(start) and key not in found:
                    found[key] = line.removeprefix(start).strip()
    function = found.get("signature", "").partition("(")[0].strip()
    return Asked(
        found.get("operation", ""), found.get("dsl", ""), found.get("target", ""),
        function if function.isidentifier() else "", tuple(dict.fromkeys(errors)), _hints(exemplars),
    )  # fmt: skip


def _number(text: str) -> float | None:
    try:
        return float(text.strip())
    except ValueError:
        return None


def _hints(exemplars: list[tuple[float, str]]) -> dict[str, str | int]:
    hints: dict[str, str | int] = {}
    for speedup, code in sorted(exemplars, key=lambda e: -e[0]):
        if speedup > FAST:
            found: list[tuple[str, str | int]] = [*_numbers(code), *_signs(code)]
            for name, value in found:
                hints.setdefault(name, value)
    return hints


def _numbers(code: str) -> list[tuple[str, int]]:
    found = ((name, re.search(pattern, code)) for name, pattern in _NUMBERS)
    return [(name, int(next(g for g in match.groups() if g))) for name, match in found if match]


def _signs(code: str) -> list[tuple[str, str]]:
    return [(name, option) for name, option, pattern in _SIGNS if re.search(pattern, code)]
