"""Names of a module: which its top level binds, which it needs from outside. Pure."""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator

from ..state.source import UNPARSABLE

_BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> list[Function]:
    """Functions of the top level, in order."""
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement binds in its own scope."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif not isinstance(node, ast.Lambda):
            stack.extend(ast.iter_child_nodes(node))


def needed(code: str) -> set[str]:
    """Global names that ``code`` uses and neither binds nor finds among the builtins. Never raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = symtable.symtable(code, "<candidate>", "exec")
    except UNPARSABLE:
        return set()
    bindings = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    uses: set[str] = set()
    stack = [module]
    while stack:
        table = stack.pop()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is module or symbol.is_global()):
                uses.add(symbol.get_name())
            if table is not module and symbol.is_declared_global() and symbol.is_assigned():
                bindings.add(symbol.get_name())
        stack.extend(table.get_children())
    return uses - bindings - _BUILTINS
