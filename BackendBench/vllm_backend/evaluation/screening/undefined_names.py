"""Finds a name that importing a module surely looks up and that nothing binds: an import that was forgotten.

- Such a module fails with NameError whatever the machine, so it needs no process to find out.
- Only what is evaluated in any case counts: decorators, default values, annotations and plain statements of the module
  itself, and of them no part that may be skipped. Names are bound by anything anywhere in the module.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
from collections.abc import Iterator

MODULE_NAMES = {
    "__annotations__", "__builtins__", "__cached__", "__debug__", "__doc__", "__file__", "__loader__", "__name__",
    "__package__", "__path__", "__spec__",
}  # fmt: skip
LAZY_ANNOTATIONS = (3, 14)
"""From this Python on annotations are evaluated when somebody asks for them."""
LATER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""Have a scope of their own, and may never be evaluated."""


def undefined_at_import(code: str, tree: ast.Module) -> ast.Name | None:
    """The first such name, or None. ``tree``: what ``code`` parses to."""
    try:
        table = symtable.symtable(code, "candidate", "exec")
    except (SyntaxError, ValueError):
        return None
    if _imports_all(tree):
        return None
    # Of a comprehension's own ones, which a table may not count as the module's.
    walrus = {node.target.id for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)}
    known = _bound(table) | walrus | set(dir(builtins)) | MODULE_NAMES
    looked_up = (name for node in _evaluated(tree) for name in _names(node))
    return next((name for name in looked_up if name.id not in known), None)


def _imports_all(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        for node in ast.walk(tree)
    )


def _bound(table: symtable.SymbolTable, module: bool = True) -> set[str]:
    """Names of the module that it binds somewhere, in functions by ``global``."""
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace())
        and (module or symbol.is_declared_global())
    }
    return found.union(*(_bound(child, module=False) for child in table.get_children()))


def _evaluated(tree: ast.Module) -> Iterator[ast.expr]:
    lazy = sys.version_info >= LAZY_ANNOTATIONS or any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    for statement in tree.body:
        if getattr(statement, "type_params", ()):  # names that only this statement sees, from Python 3.12 on
            continue
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statement.decorator_list
            given = statement.args
            yield from (default for default in [*given.defaults, *given.kw_defaults] if default is not None)
            if not lazy:
                every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                yield from (a.annotation for a in every if a is not None and a.annotation is not None)
        elif isinstance(statement, ast.ClassDef):
            yield from [*statement.decorator_list, *statement.bases]
        elif isinstance(statement, ast.Assign | ast.Expr):
            yield statement.value


def _names(node: ast.AST) -> Iterator[ast.Name]:
    """Of an expression that is evaluated, those that are looked up for it in any case."""
    if isinstance(node, ast.Name):
        yield node
        return
    if isinstance(node, LATER):
        return
    if isinstance(node, ast.BoolOp):
        children: list[ast.AST] = [node.values[0]]
    elif isinstance(node, ast.IfExp):
        children = [node.test]
    elif isinstance(node, ast.Compare):
        children = [node.left, node.comparators[0]]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _names(child)
