"""Operations by name.

- A well-known operation is found in the table alone; nothing is imported or traced for it.
- Any other name needs the trace of OpInfo's database (once per torch version, see trace_cache.py).
- OpInfos that map to one overload are one operation; all their names lead to it.
- ``file.py:name`` is a user's own operation, ``problem.py`` a KernelBench problem (user.py, problem.py).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from . import cases, problem, trace_cache, user, wellknown, workloads
from . import names as spelling
from .errors import BadOperationFile, UnknownOperation
from .operation import Operation
from .opinfo import Traced
from .wellknown import WellKnown

__all__ = [
    "BadOperationFile",
    "UnknownOperation",
    "from_source",
    "names",
    "parse_list",
    "reference_of",
    "resolve",
]


def resolve(name: str) -> Operation:
    """The operation of that name, overload, alias or file. Raises UnknownOperation, one line."""
    wanted = name.strip()
    if user.is_file_name(wanted):
        return _from_file(wanted)
    for key in spelling.spellings(wanted):
        if key in _table_keys():
            return _wellknown(_table_keys()[key])
    found = _traced_keys()
    for key in spelling.spellings(wanted):
        if key in found:
            return _wellknown(found[key]) if found[key] in wellknown.by_name() else _traced(found[key])
    raise UnknownOperation(_unknown(wanted))


def names() -> list[str]:
    """Canonical names of all operations, well-known ones first, each part sorted."""
    return sorted(wellknown.by_name()) + sorted(_groups())


def parse_list(text: str) -> list[Operation]:
    """Operations of a comma-separated list, in order, each once. Raises UnknownOperation."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if not wanted:
        raise UnknownOperation("no operation is named: give a list such as relu,add,softmax")
    found: dict[str, Operation] = {}
    for part in wanted:
        operation = resolve(part)
        other = found.setdefault(operation.name, operation)
        if other.source != operation.source:
            raise UnknownOperation(f"two operations are called {operation.name}: rename one of them")
    return list(found.values())


def from_source(name: str, text: str) -> Operation:
    """A user's operation from the text of its file, as it travels between machines. Raises BadOperationFile."""
    if problem.is_problem(text):
        return problem.from_text(name, text)
    return user.from_text(name, text)


def reference_of(name: str, overload: str, source: str) -> Callable[..., Any]:
    """Eager's function of a resolved operation, found without a trace: for a process that sees no cache.

    Raises UnknownOperation.
    """
    if source:
        return from_source(name, source).reference
    row = wellknown.by_name().get(name)
    if row is not None:
        return row.reference()
    if not overload:
        raise UnknownOperation(f"unknown operation {name[:80]!r}")
    function: Callable[..., Any] = overload_of(overload)
    return function


def _from_file(wanted: str) -> Operation:
    file, name = user.split_name(wanted)
    text = user.read(file)
    if name:
        return from_source(name, text)
    if problem.is_problem(text):
        return problem.from_text(spelling.identifier(Path(file).stem), text)
    raise BadOperationFile(f"{file}: say which of its operations: {file}:NAME")


def _unknown(wanted: str) -> str:
    known = _left_out(wanted)
    if known is not None:
        why = f"{known.outcome.value} ({known.reason})" if known.reason else known.outcome.value
        return f"operation {wanted[:80]!r} is not one overload that can be judged: {why}"
    close = spelling.nearest(wanted, [*_table_keys(), *_groups(), *_traced_keys()])
    shown = {_canonical(c): _canonical(c) if _is_spelling(c) else c for c in reversed(close)}
    near = ", ".join(reversed(shown.values()))
    hint = f"did you mean {near}?" if shown else "backendbench-vllm operations lists all names"
    return f"unknown operation {wanted[:80]!r}: {hint}"


def _left_out(wanted: str) -> Traced | None:
    """The OpInfo of that name, where no operation has been made of it."""
    keys = set(spelling.spellings(wanted))
    left = (t for t in trace_cache.traced() if not t.overload)
    return next((t for t in left if keys & set(spelling.spellings(t.name))), None)


def _is_spelling(key: str) -> bool:
    """Whether a key is its operation's own name written otherwise, rather than an alias."""
    return spelling.squeezed(key) == spelling.squeezed(_canonical(key))


def _canonical(key: str) -> str:
    return _table_keys().get(key) or _traced_keys().get(key) or key


@functools.cache
def _table_keys() -> Mapping[str, str]:
    """Every spelling of a well-known operation -> its canonical name; canonical names win over aliases."""
    keys: dict[str, str] = {}
    rows = wellknown.TABLE
    for row in rows:
        keys.setdefault(row.name, row.name)
    for row in rows:
        for alias in (row.overload, *row.aliases, _packet(row), _opinfo_name(row)):
            _add(keys, alias, row.name)
    for row in rows:
        keys.setdefault(spelling.squeezed(row.name), row.name)
    return MappingProxyType(keys)


def _packet(row: WellKnown) -> str:
    return row.overload.split(".")[0]


def _opinfo_name(row: WellKnown) -> str:
    return row.opinfo.split("/")[0].strip("-")


def _add(keys: dict[str, str], alias: str, name: str) -> None:
    for key in spelling.spellings(alias):
        keys.setdefault(key, name)


@functools.cache
def _groups() -> Mapping[str, tuple[Traced, ...]]:
    """Operations that only the trace knows: canonical name -> its OpInfos, all of one overload."""
    by_overload: dict[str, list[Traced]] = defaultdict(list)
    for traced in trace_cache.traced():
        if traced.overload:
            by_overload[traced.overload].append(traced)
    groups: dict[str, tuple[Traced, ...]] = {}
    for overload, members in by_overload.items():
        # A well-known operation has this overload already, under its own calling convention.
        if any(key in _table_keys() for key in spelling.spellings(overload)):
            continue
        groups[_name_of(overload, members, groups)] = tuple(_preferred(members))
    return MappingProxyType(groups)


def _preferred(members: list[Traced]) -> list[Traced]:
    """Without complex variants where there are real ones: kernel languages have no complex numbers."""
    real = [m for m in members if "complex" not in m.dtype]
    return real or members


def _name_of(overload: str, members: list[Traced], taken: Mapping[str, object]) -> str:
    """The shortest of its OpInfos' names that is free, else the overload's."""
    short = [spelling.identifier(spelling.bare(m.name)) for m in members]
    variants = [
        f"{s}_{spelling.identifier(m.variant)}" for s, m in zip(short, members, strict=True) if m.variant
    ]
    plain = [n for n in short if not n.startswith("__")]
    packet, _, which = overload.partition(".")
    choices = [*sorted(plain, key=lambda n: (n != packet, len(n), n)), *variants, f"{packet}_{which}", *short]
    free = (c for c in choices if c not in taken and c not in _table_keys())
    return next(free, spelling.identifier(overload))


@functools.cache
def _traced_keys() -> Mapping[str, str]:
    """Every spelling that only the trace knows -> canonical name; also of OpInfos that the table covers."""
    keys = {name: name for name in _groups()}
    for name, members in _groups().items():
        for alias in (members[0].overload, members[0].overload.split(".")[0]):
            _add(keys, alias, name)
        for member in members:
            for alias in (*_names_of(member), *member.aliases):
                _add(keys, alias, name)
    for traced in trace_cache.traced():
        known = next(
            (_table_keys()[k] for k in spelling.spellings(traced.overload) if k in _table_keys()), None
        )
        for alias in _names_of(traced) if known else ():
            _add(keys, alias, known or "")
    return MappingProxyType(keys)


def _names_of(traced: Traced) -> list[str]:
    return [traced.name, f"{traced.name}_{traced.variant}"] if traced.variant else [traced.name]


@functools.cache
def _wellknown(name: str) -> Operation:
    row = wellknown.by_name()[name]
    return Operation(
        name=row.name, overload=row.overload, signature=row.signature, reference=row.reference(),
        make_cases=cases.for_wellknown(row), make_workloads=workloads.for_wellknown(row), family=row.family,
        description=row.description, overload_signature=str(overload_of(row.overload)._schema),
    )  # fmt: skip


@functools.cache
def _traced(name: str) -> Operation:
    members = _groups()[name]
    overload = overload_of(members[0].overload)
    infos = [(m.name, m.variant) for m in members]
    half = any(m.half for m in members)
    return Operation(
        name=name, overload=members[0].overload, signature=signature_of(overload), reference=overload,
        make_cases=cases.for_overload(overload, infos, half),
        make_workloads=workloads.for_overload(overload, infos, half),
        family=family_of(overload),
        description=f"torch.ops.aten.{members[0].overload}, called as its schema says.",
        overload_signature=str(overload._schema),
    )  # fmt: skip


def overload_of(name: str) -> torch._ops.OpOverload:
    """``add.Tensor`` as the object ``torch.ops.aten.add.Tensor``."""
    packet, _, which = name.partition(".")
    found: torch._ops.OpOverload = getattr(getattr(torch.ops.aten, packet), which or "default")
    return found


def family_of(overload: torch._ops.OpOverload) -> str:
    """As torch has tagged it; elementwise means that each output element depends on one element per input."""
    if torch.Tag.pointwise in overload.tags:
        tensors = sum("Tensor" in str(a.type) for a in overload._schema.arguments)
        return "elementwise" if tensors == 1 else "binary"
    reduction = getattr(torch.Tag, "reduction", None)  # since torch 2.10
    return "reduction" if reduction in overload.tags else "other"


def signature_of(overload: torch._ops.OpOverload) -> str:
    """The schema as a Python parameter list."""
    parts, starred = [], False
    for argument in overload._schema.arguments:
        if argument.kwarg_only and not starred:
            parts.append("*")
            starred = True
        name = spelling.identifier(argument.name)
        parts.append(f"{name}={argument.default_value!r}" if argument.has_default_value() else name)
    return f"({', '.join(parts)})"
