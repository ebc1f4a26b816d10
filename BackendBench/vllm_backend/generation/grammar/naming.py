"""Names that models give to things: one whole-word renaming per derivation, so that sources differ.

- Keys are the names that the templates use; a name is replaced everywhere or nowhere.
- A new name never stands for something else in a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .choices import Choices

NUMBA: Mapping[str, tuple[str, ...]] = {
    "kernel": ("kernel", "_kernel", "compute", "_loop"),
    "fast_kernel": ("fast_kernel", "_kernel32", "vector_kernel"),
    "x_in": ("x_in", "src", "values"),
    "out": ("out", "dst", "result", "res"),
    "flat": ("flat", "x_flat", "data"),
    "work": ("work", "tensor", "source"),
    "i": ("i", "idx", "j"),
    "first": ("first", "start", "lo"),
    "last": ("last", "stop", "hi"),
    "block": ("block", "chunk", "b_id"),
    "y": ("y", "r", "val"),
}
TRITON: Mapping[str, tuple[str, ...]] = {
    "kernel": ("kernel", "_kernel", "fwd_kernel", "triton_kernel"),
    "x_ptr": ("x_ptr", "in_ptr", "input_ptr", "X"),
    "out_ptr": ("out_ptr", "output_ptr", "y_ptr", "Y"),
    "n_elements": ("n_elements", "numel", "n", "total"),
    "BLOCK_SIZE": ("BLOCK_SIZE", "BLOCK", "XBLOCK"),
    "offsets": ("offsets", "offs", "idx"),
    "mask": ("mask", "inside", "valid"),
    "out": ("out", "output", "result"),
    "y": ("y", "r", "val"),
    "pid": ("pid", "program", "block_id"),
}


def renamed(code: str, dsl: str, choices: Choices) -> str:
    """The code with some names replaced."""
    table = NUMBA if dsl == "numba" else TRITON
    chosen = {name: choices.pick(f"name {name}", options) for name, options in table.items()}
    taken = set(re.findall(r"\w+", code)) - set(chosen)
    chosen = {n: c for n, c in chosen.items() if c not in taken}
    for suffix in ("_serial", "_parallel"):
        chosen |= {n + suffix: c + suffix for n, c in chosen.items() if n.endswith("kernel")}
    words = "|".join(sorted(map(re.escape, chosen), key=len, reverse=True))
    # Keyword arguments of the DSL keep their names; BLOCK_SIZE is a parameter of the kernels themselves.
    pattern = re.compile(rf"(?<![.\w])({words})\b(?!(?<!BLOCK_SIZE)=[^=])")
    return pattern.sub(lambda match: chosen[match[1]], code)
