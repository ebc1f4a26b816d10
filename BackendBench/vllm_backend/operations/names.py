"""The many ways to write an operation's name, brought to one key.

- ``aten::add.Tensor``, ``torch.ops.aten.add.Tensor``, ``add__Tensor`` and ``add.Tensor`` are one.
- A prefix that says where a name lives (``torch.``, ``aten.``, ``nn.functional.``) and ``.default`` say nothing.
- Pure text; knows no operation.
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Iterable

PREFIXES = ("torch.ops.", "ops.aten.", "aten::", "aten.", "torch.", "nn.functional.", "F.")
FOLDER = re.compile(r"(.*[^_])__([A-Za-z][A-Za-z0-9_]*)")
"""``add__Tensor``: BackendBench's folder name of an overload. Dunders such as ``__radd__`` do not match."""


def spellings(name: str) -> list[str]:
    """Keys under which ``name`` may be known, most literal first."""
    plain = name.strip()
    stripped = bare(plain)
    forms = [plain, stripped]
    folder = FOLDER.fullmatch(stripped)
    if folder:
        forms.append(f"{folder[1]}.{folder[2]}")
    forms += [form.removesuffix(".default") for form in list(forms)]
    forms += [form.lower() for form in list(forms)]
    forms += [squeezed(form) for form in list(forms)]
    return list(dict.fromkeys(form for form in forms if form))


def bare(name: str) -> str:
    """Without prefixes that say where a name lives, and without ``.default``."""
    name = name.removesuffix(".default")
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if name.startswith(prefix) and len(name) > len(prefix):
                name, changed = name.removeprefix(prefix), True
    return name


def squeezed(name: str) -> str:
    """``layer_norm`` and ``LayerNorm`` as ``layernorm``; dunders keep their underscores."""
    if name.startswith("__"):
        return name
    return name.lower().replace("_", "").replace("-", "")


def identifier(name: str) -> str:
    """A Python identifier made of ``name``: ``linalg.det`` -> ``linalg_det``."""
    made = re.sub(r"\W+", "_", name)
    if not made or made[0].isdigit():
        made = f"op_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def nearest(name: str, known: Iterable[str], count: int = 4) -> list[str]:
    """The names that a misspelt one may have meant."""
    names = sorted(set(known))
    wanted = bare(name.strip()).lower()
    close = difflib.get_close_matches(wanted, names, n=count, cutoff=0.6)
    containing = [n for n in names if len(wanted) >= 3 and wanted in n]
    return list(dict.fromkeys([*close, *containing]))[:count]
