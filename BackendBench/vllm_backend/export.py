"""Best kernels as files that BackendBench's directory backend loads.

- One folder per overload, ``add__Tensor``; in it ``add__Tensor_implementation_v1.py`` (best first), which
  defines ``add__Tensor_kernel_impl`` with the calling convention of that aten overload.
- The candidate's text stays as it was judged. What is added stands below it: another name where both
  conventions agree, else a function that passes the arguments on.
- An overload whose arguments cannot be passed on without changing what is computed is refused, not guessed.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .operations.operation import Operation

WITHOUT_EFFECT = frozenset({"cudnn_enable", "cudnn_enabled"})
"""Arguments of overloads that choose an implementation and never change the result."""


class ExportError(Exception):
    """This operation cannot be exported. One line that says why."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a calling convention."""

    name: str
    keyword_only: bool
    default: str | None
    """Source text of the default; None: required."""


def folder_name(overload: str) -> str:
    """``add.Tensor`` -> ``add__Tensor``."""
    return overload.replace(".", "__")


def export(operation: Operation, kernels: Sequence[Mapping[str, Any]], directory: Path) -> list[Path]:
    """Write ``kernels`` (as the store gives them, best first) below ``directory``; the files written.

    Raises ExportError.
    """
    folder = directory / folder_name(operation.overload)
    adapter = adapter_source(operation)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{folder.name}_implementation_v*.py"):
        old.unlink()
    files = []
    for number, kernel in enumerate(kernels, 1):
        file = folder / f"{folder.name}_implementation_v{number}.py"
        file.write_text(f"{_origin(operation, kernel)}\n{kernel['code'].rstrip()}\n\n\n{adapter}", "utf-8")
        files.append(file)
    note = [
        {k: kernel.get(k) for k in ("hash", "speedup", "speedup_low", "speedup_high", "device")}
        for kernel in kernels
    ]
    (folder / "kernels.json").write_text(json.dumps(note, indent=2) + "\n", "utf-8")
    return files


def adapter_source(operation: Operation) -> str:
    """Source that gives the candidate's function the overload's name and calling convention.

    Raises ExportError.
    """
    ours = f"{operation.name}_kernel_impl"
    theirs = f"{folder_name(operation.overload)}_kernel_impl"
    if not operation.overload_signature:
        raise ExportError(
            f"{operation.name} is no operation of PyTorch: only those have an overload to export to"
        )
    public, overload = _public(operation.signature), _overload(operation.overload_signature)
    if public == overload:
        return f"{theirs} = {ours}\n"
    passed = _passed(operation, public, overload)
    return f"def {theirs}({_signature(overload)}):\n    return {ours}({', '.join(passed)})\n"


def _passed(operation: Operation, public: list[Parameter], overload: list[Parameter]) -> list[str]:
    """The arguments of the call of the candidate's function, from the overload's parameters."""
    names = {p.name for p in overload}
    positional = [p for p in overload if not p.keyword_only]
    used: set[str] = set()
    passed: list[str] = []
    for index, parameter in enumerate(public):
        if parameter.name in names:
            source = parameter.name
        elif index < len(positional) and positional[index].name not in {p.name for p in public}:
            source = positional[index].name  # `x` for `self`
        elif parameter.default is not None:
            continue
        else:
            raise ExportError(
                f"{operation.overload} has no argument for {parameter.name!r} of {operation.name}"
            )
        used.add(source)
        # Behind a gap only a keyword says which parameter is meant.
        by_keyword = parameter.keyword_only or len(passed) < index
        passed.append(f"{parameter.name}={source}" if by_keyword else source)
    lost = [p.name for p in overload if p.name not in used | WITHOUT_EFFECT]
    if lost:
        raise ExportError(f"{operation.name} has no parameter for {', '.join(lost)} of {operation.overload}")
    return passed


def _public(signature: str) -> list[Parameter]:
    function = ast.parse(f"def f{signature}: pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    if given.vararg or given.kwarg:
        raise ExportError(f"a parameter list with * cannot be matched with an overload: {signature}")
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    found = [
        Parameter(a.arg, False, None if d is None else ast.unparse(d))
        for a, d in zip(positional, [*defaults, *given.defaults], strict=True)
    ]
    return found + [
        Parameter(a.arg, True, None if d is None else ast.unparse(d))
        for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]


def _overload(schema: str) -> list[Parameter]:
    arguments = torch._C.parse_schema(schema).arguments
    return [
        Parameter(a.name, a.kwarg_only, _literal(a.default_value) if a.has_default_value() else None)
        for a in arguments
    ]


def _literal(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return repr(value)
    raise ExportError(f"a default of the overload cannot be written down: {value!r}")


def _signature(parameters: list[Parameter]) -> str:
    parts, starred = [], False
    for parameter in parameters:
        if parameter.keyword_only and not starred:
            parts.append("*")
            starred = True
        parts.append(parameter.name if parameter.default is None else f"{parameter.name}={parameter.default}")
    return ", ".join(parts)


def _origin(operation: Operation, kernel: Mapping[str, Any]) -> str:
    interval = f"{kernel.get('speedup_low', 0):.3f} to {kernel.get('speedup_high', 0):.3f}"
    return (
        f"# {operation.overload}: kernel {str(kernel.get('hash', ''))[:16]}, "
        f"{kernel.get('speedup', 0):.3f} times eager ({interval}) on {kernel.get('device') or 'an unnamed device'}\n"
    )
