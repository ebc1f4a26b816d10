"""Code that needs names of other blocks gets the statements that bind them. Pure.

- Only statements that bind a missing name are taken, and what these need in turn.
- A name with two different definitions is ambiguous; the same definition twice is one.
- Several ``import a``, ``import a.b`` are no contradiction: all of them are taken.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..state.source import UNPARSABLE, parse
from .names import bound, needed


class AmbiguousHelper(Exception):
    """Several blocks define a needed name differently."""


@dataclass(frozen=True)
class _Provider:
    """A statement of another block that binds a name."""

    place: tuple[int, int]
    """Block and line, for the order."""
    text: str
    plain_import: bool


def joined(code: str, others: Sequence[str]) -> str:
    """``code`` with the statements of ``others`` that it needs in front. Raises AmbiguousHelper."""
    missing = needed(code)
    if not missing or not others:
        return code
    known = _providers(others)
    taken: dict[str, _Provider] = {}
    seen: set[str] = set()
    while missing:
        name = missing.pop()
        if name in seen:
            continue
        seen.add(name)
        for provider in _unambiguous(known.get(name, [])):
            if provider.text not in taken:
                taken[provider.text] = provider
                missing |= needed(provider.text) - seen
    if not taken:
        return code
    front = "\n".join(p.text for p in sorted(taken.values(), key=lambda p: p.place))
    head, rest = _split_future(code)
    result = f"{head}{front}\n\n\n{rest}"
    try:
        parse(result)
    except UNPARSABLE:
        return code
    return result


def _unambiguous(providers: list[_Provider]) -> list[_Provider]:
    texts = {p.text for p in providers}
    if len(texts) > 1 and not all(p.plain_import for p in providers):
        raise AmbiguousHelper
    return providers


def _providers(others: Sequence[str]) -> dict[str, list[_Provider]]:
    found: dict[str, list[_Provider]] = {}
    for number, code in enumerate(others):
        lines = code.split("\n")
        for statement in parse(code).body:
            for name, text in _bindings(statement, lines):
                plain = isinstance(statement, ast.Import) and " as " not in text
                found.setdefault(name, []).append(_Provider((number, statement.lineno), text, plain))
    return found


def _bindings(statement: ast.stmt, lines: list[str]) -> Iterator[tuple[str, str]]:
    """(name, source that binds it). An import of several names is taken apart."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            single = type(statement)(**{**dict(ast.iter_fields(statement)), "names": [alias]})
            name = (alias.asname or alias.name).partition(".")[0]
            if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
                yield name, ast.unparse(single)
        return
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(d.lineno for d in decorators)])
    text = "\n".join(lines[first - 1 : statement.end_lineno])
    for name in set(bound(statement)):
        yield name, text


def _split_future(code: str) -> tuple[str, str]:
    """``from __future__`` has to stay in front of everything."""
    line = 0
    for statement in parse(code).body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            line = statement.end_lineno or 0
    lines = code.split("\n")
    return ("\n".join(lines[:line]) + "\n" if line else ""), "\n".join(lines[line:])
