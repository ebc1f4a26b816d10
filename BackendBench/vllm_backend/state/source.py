"""When two sources are the same kernel.

- The hash is over the syntax tree: formatting, comments and docstrings make no new kernel, local names do.
- The tree is written out by this module, not by ``ast.dump`` or ``ast.unparse``: those differ between versions
  of Python, and workers on machines with different versions share one store.
- What does not parse is hashed as text with its white space collapsed.
"""

from __future__ import annotations

import ast
import hashlib
import warnings

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What ``ast.parse`` raises for text that is not Python, holds a NUL, or is nested beyond reason."""

_IGNORED_FIELDS = frozenset({"ctx", "type_ignores", "type_comment", "kind"})
"""``ctx`` follows from the place in the tree; the others are comments, or how a string was spelled."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def parse(code: str) -> ast.Module:
    """``ast.parse`` without its warnings. Raises one of UNPARSABLE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def source_hash(code: str) -> str:
    """sha256 of the normalised source, hex."""
    return hashlib.sha256(normalised_source(code).encode("utf-8", "backslashreplace")).hexdigest()


def normalised_source(code: str) -> str:
    """One text for all sources that are the same kernel. Not Python; never raises."""
    try:
        return _written(parse(code))
    except UNPARSABLE:
        return " ".join(code.split())


def _written(tree: ast.Module) -> str:
    """The tree in prefix form. A stack instead of recursion: long chains of operators are deep trees."""
    out: list[str] = []
    stack: list[object] = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, _Text):
            out.append(item)
        elif isinstance(item, ast.AST):
            stack.append(_Text(")"))
            for name, value in reversed(_fields(item)):
                stack += [value, _Text(f" {name}=")]
            stack.append(_Text(f"({type(item).__name__}"))
        elif isinstance(item, list):
            stack.append(_Text("]"))
            for element in reversed(item):
                stack += [element, _Text(",")]
            stack.append(_Text("["))
        else:
            out.append(_constant(item))
    return "".join(out)


class _Text(str):
    """Output as it stands, unlike a string of the program."""

    __slots__ = ()


def _fields(node: ast.AST) -> list[tuple[str, object]]:
    """Fields that say something. Empty ones are left out: versions differ in which of them exist."""
    found = []
    for name, value in sorted(ast.iter_fields(node)):
        if name == "body" and isinstance(node, _DOCUMENTED):
            value = _without_docstring(node)
        elif isinstance(node, ast.JoinedStr):
            # Python 3.12 ends some format specifications with an empty string.
            value = [
                part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")
            ]
        constant = name == "value" and isinstance(node, ast.Constant)
        if name not in _IGNORED_FIELDS and (constant or (value is not None and value != [])):
            found.append((name, value))
    return found


def _without_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> list[ast.stmt]:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        # A body that was nothing but its docstring does what `pass` does.
        return node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return node.body


def _constant(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int:{value:x}"  # decimal text of huge numbers is refused by Python
    return f"{type(value).__name__}:{value!r}"
