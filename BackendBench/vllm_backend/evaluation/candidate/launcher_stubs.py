"""Triton's C stubs, shared: the driver's, and one launcher for all kernels.

- Triton up to 3.6 has the C compiler make a launcher for every list of argument types, 0.15-0.4 s each, and one stub of
  the driver (later versions only that): for most kernels more than all other compiling. A candidate finds both in the
  memory that it was forked with.
- The launcher for all kernels is ours (kernel_launcher.c). It stands in for those of one version, whose calls it
  understands; what it cannot pass (tensor descriptors, tuples), the candidate has compiled as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

UNDERSTOOD = "iiiKKppOOOOOO"
"""What a launcher of Triton 3.6 is called with before the kernel's arguments, as a format of PyArg_ParseTuple."""
KINDS = {
    "constexpr": "-", "i1": "b", "i8": "b", "i16": "h", "i32": "i", "i64": "L", "u1": "B", "u8": "B", "u16": "H",
    "u32": "I", "u64": "K", "fp16": "e", "bf16": "y", "fp32": "f", "f32": "f", "fp64": "d",
}  # fmt: skip
"""How an argument is passed, by the name that Triton has for its type. See kernel_launcher.c."""
POINTER = "P"
MOST_ARGUMENTS = 128
"""As in kernel_launcher.c."""
NAME = "kernel_launcher"
MARK = "kernel_launcher:"
"""Begins what is no C text, but the kinds of arguments that a launcher is wanted for."""


def kinds(types: Mapping[Any, Any]) -> str | None:
    """A character for each argument of a kernel; None: it has some that our launcher cannot pass."""
    names = list(types.values())
    if len(names) > MOST_ARGUMENTS or not all(isinstance(name, str) for name in names):
        return None
    found = [POINTER if name.startswith("*") else KINDS.get(name) for name in names]
    return None if None in found else "".join(kind for kind in found if kind)


class Stubs:
    """The stubs of this process. Installed in the warm server, inherited by every candidate.

    ``driver`` is the module ``triton.backends.nvidia.driver``.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._compile = driver.compile_module_from_src
        self._make = getattr(driver, "make_launcher", None)
        self._modules: dict[tuple[str, str], Any] = {}
        self._launcher: Any = None
        driver.compile_module_from_src = self._module

    def build(self) -> None:
        """Compile the launcher, if this Triton is one that it can stand in for, and use it from now on."""
        if self._make is None or getattr(self._driver, "_BASE_ARGS_FORMAT", "") != UNDERSTOOD:
            return
        self._launcher = self._compile(
            src=Path(__file__).with_name(f"{NAME}.c").read_text(encoding="utf-8"), name=NAME,
            library_dirs=self._driver.library_dirs(), include_dirs=self._driver.include_dirs,
            libraries=self._driver.libraries,
        )  # fmt: skip
        self._driver.make_launcher = self._text

    def _text(self, constants: Any, types: Any, *more: Any) -> str:
        assert self._make is not None
        found = kinds(types)
        if found is not None:
            return MARK + found
        text: str = self._make(constants, types, *more)
        return text

    def _module(self, src: str, name: str, **more: Any) -> Any:
        if src.startswith(MARK):
            return SimpleNamespace(launch=partial(self._launcher.launch, src.removeprefix(MARK)))
        found = self._modules.get((name, src))
        if found is None:
            found = self._modules[name, src] = self._compile(src=src, name=name, **more)
        return found


def install() -> Stubs:
    """Share stubs from now on. Needs Triton, and what it builds the driver's stub with."""
    from triton.backends.nvidia import driver

    stubs = Stubs(driver)
    stubs.build()
    return stubs
