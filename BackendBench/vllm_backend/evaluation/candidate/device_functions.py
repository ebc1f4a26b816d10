"""NVIDIA's library of mathematical functions for Triton's kernels, in small pieces.

- A kernel that calls ``exp`` of a double, ``erf`` or ``rsqrt`` is linked with that library. Triton reads all of its 350
  functions for every such kernel, 30 ms, a third of what compiling a normalisation takes; most need one or two.
- The warm server has the common ones linked once, keeps what they look like then as text, and tries whether a kernel
  becomes the same machine code with them. A candidate that needs others, or another library, gets what Triton reads.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

PREFIX = "__nv_"
_DEFINITION = re.compile(r"^define internal (.*?^}$)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"@([\w.]+)\(")
_CALLED = re.compile(rf"@({PREFIX}\w+|__internal\w+)\b")
_SHARED = re.compile(r"^(?:@(?!global_smem)|%struct|declare |attributes |!).*$", re.MULTILINE)


class Functions:
    """Functions of a library as text, and small libraries made of some of them."""

    def __init__(self, linked: str) -> None:
        """``linked``: a module of LLVM's in which the library's functions are, as text."""
        self._shared = [line for line in _SHARED.findall(linked) if PREFIX not in line.partition("(")[0]]
        self._defined: dict[str, str] = {}
        for body in _DEFINITION.findall(linked):
            self._defined[_name(body)] = f"define {body}"
        self._files: dict[frozenset[str], str] = {}

    def have(self, names: Iterable[str]) -> bool:
        """Whether all of them are among these."""
        return all(name in self._defined for name in names)

    def library(self, names: Iterable[str]) -> str:
        """Path of a library with these functions, and what they call."""
        wanted = frozenset(names)
        if wanted not in self._files:
            with tempfile.NamedTemporaryFile("w", suffix=".ll", delete=False, encoding="utf-8") as file:
                file.write(
                    "\n".join([*self._shared, *(self._defined[name] for name in self._closed(wanted))])
                )
            self._files[wanted] = file.name
        return self._files[wanted]

    def forget(self) -> None:
        """Remove what was written, so that a process that is forked off writes its own."""
        for path in self._files.values():
            Path(path).unlink(missing_ok=True)
        self._files.clear()

    def _closed(self, names: Iterable[str]) -> list[str]:
        open_, closed = list(names), list[str]()
        while open_:
            name = open_.pop()
            if name not in closed:
                closed.append(name)
                open_ += [other for other in _CALLED.findall(self._defined[name]) if other in self._defined]
        return sorted(closed)


def _name(definition: str) -> str:
    found = _NAME.search(definition)
    return found.group(1) if found else ""


def needed(module: Any) -> list[str]:
    """What a module of LLVM's calls and has not: functions of the library, and others that no library here has."""
    return [f.name for f in module.get_functions() if f.is_declaration() and f.name.startswith("__")]


def install(compile_all: Callable[[], bytes]) -> bool:
    """Have kernels linked with small libraries from now on, if it makes no difference. Needs Triton.

    ``compile_all``: compiles a kernel that calls the common functions and returns its machine code.
    """
    from triton._C.libtriton import llvm

    link: Callable[[Any, Sequence[str]], None] = llvm.link_extern_libs
    texts: list[str] = []

    def watched(module: Any, paths: Sequence[str]) -> None:
        link(module, paths)
        texts.append(str(module))

    llvm.link_extern_libs = watched
    try:
        usual = compile_all()
        functions = Functions(texts[0])

        def sparing(module: Any, paths: Sequence[str]) -> None:
            names = needed(module)
            small = len(paths) == 1 and Path(paths[0]).name.startswith("libdevice") and functions.have(names)
            link(module, [functions.library(names)] if small else paths)

        llvm.link_extern_libs = sparing
        same = compile_all() == usual and bool(functions._files)
        functions.forget()
    except Exception:  # a Triton that works in another way
        same = False
    if not same:
        llvm.link_extern_libs = link
    return same
