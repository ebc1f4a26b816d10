"""Triton's C stubs, shared: the driver's and one launcher for each kind of argument list.

- Triton up to 3.6 has the C compiler make a launcher for every argument list, 0.15-0.4 s each, and one stub of the
  driver (later versions only that): for most kernels more than all other compiling. A candidate finds in the memory
  that it was forked with what others needed before.
- Which argument lists are needed, candidates tell. Their word is data, names of types, and is checked: the C text is
  Triton's own, made of these names and compiled by the warm server. Nothing that a candidate made is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Signature = tuple[str, ...]

POINTER = "*fp32"
"""Stands for all pointers: a launcher does not tell them apart."""
SCALARS = {
    "constexpr", "i1", "i8", "i16", "i32", "i64", "u1", "u8", "u16", "u32", "u64",
    "fp16", "bf16", "fp32", "f32", "fp64",
}  # fmt: skip
MOST_ARGUMENTS = 48
MOST_TOLD = 8
"""Signatures of one reply; a kernel has two or three."""
COMMON: tuple[Signature, ...] = (
    (POINTER, POINTER, "i32", "constexpr"),
    (POINTER, POINTER, "constexpr", "constexpr"),
    (POINTER, POINTER, POINTER, "i32", "constexpr"),
    (POINTER, POINTER, POINTER, "constexpr", "constexpr"),
    (POINTER, POINTER, "i32", "i32", "constexpr"),
)
"""Elementwise kernels of one and two inputs, for many elements and for one (a 1 is compiled in); rows."""


def told(raw: object) -> list[Signature]:
    """The well-formed signatures of a candidate's reply, pointers made alike; whatever else it says is left out."""
    if not isinstance(raw, list):
        return []
    found = []
    for one in raw[:MOST_TOLD]:
        if not isinstance(one, list) or not 0 < len(one) <= MOST_ARGUMENTS:
            continue
        if not all(isinstance(name, str) for name in one):
            continue
        alike = tuple(POINTER if name.startswith("*") else name for name in one)
        if all(name == POINTER or name in SCALARS for name in alike):
            found.append(alike)
    return found


class Stubs:
    """The stubs of this process. Installed in the warm server, inherited by every candidate.

    ``driver`` is the module ``triton.backends.nvidia.driver``.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._compile = driver.compile_module_from_src
        self._make = getattr(driver, "make_launcher", None)
        self._modules: dict[tuple[str, str], Any] = {}
        self._signatures: dict[str, Signature] = {}
        self._missed: list[Signature] = []
        driver.compile_module_from_src = self._module
        if self._make is not None:
            driver.make_launcher = self._launcher

    def missed(self) -> list[Signature]:
        """Argument lists whose launcher had to be compiled since the last call."""
        found, self._missed = self._missed, []
        return found

    def build(self, signature: Sequence[str]) -> None:
        """Compile, or find in Triton's cache, the launcher of a signature, and keep it. Nothing where this Triton makes
        none."""
        if self._make is None:
            return
        text = self._launcher({}, dict(enumerate(signature)), None)
        self._module(
            src=text, name="__triton_launcher", library_dirs=self._driver.library_dirs(),
            include_dirs=self._driver.include_dirs, libraries=self._driver.libraries,
        )  # fmt: skip
        self._missed.clear()

    def _launcher(self, constants: Any, signature: Any, *more: Any) -> str:
        assert self._make is not None
        text: str = self._make(constants, signature, *more)
        names = tuple(signature.values())
        if all(isinstance(name, str) and not name.startswith("tensordesc") for name in names):
            self._signatures[text] = names
        return text

    def _module(self, src: str, name: str, **more: Any) -> Any:
        found = self._modules.get((name, src))
        if found is None:
            found = self._modules[name, src] = self._compile(src=src, name=name, **more)
            if src in self._signatures:
                self._missed.append(self._signatures[src])
        return found


installed: Stubs | None = None
"""Of this process."""


def install() -> Stubs:
    """Share stubs from now on. Needs Triton."""
    global installed
    if installed is None:
        from triton.backends.nvidia import driver

        installed = Stubs(driver)
    return installed


def missed() -> list[Signature]:
    """See Stubs.missed; nothing where nothing is shared."""
    return installed.missed() if installed is not None else []
