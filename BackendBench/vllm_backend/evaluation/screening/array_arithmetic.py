"""Finds NumPy computing with a tensor's data outside jitted functions: operators and methods of arrays.

- Pure. Part of the screen, which sees names of NumPy but not what stands behind ``a @ b`` or ``a.clip(0)``.
- An array is what ``.numpy()`` returns, what NumPy makes of one, a view of one, and a parameter that is given one.
- Reading single elements, shapes and strides, views, copies and conversions are a wrapper's work.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

METHODS = {
    "astype", "copy", "fill", "flatten", "item", "newbyteorder", "ravel", "reshape", "setflags", "squeeze",
    "swapaxes", "tolist", "transpose", "view",
}  # fmt: skip
"""Methods of an array that lay out, copy or convert."""
VIEWS = {"T", "flat", "mT"}
ROUNDS = 3
"""Calls of helpers within helpers that are followed."""


def find(tree: ast.Module, jitted: Collection[str]) -> tuple[ast.AST, str] | None:
    """The first place where NumPy computes, and what it is; ``jitted`` names the functions to leave out."""
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name not in jitted}
    given: dict[str, set[str]] = {name: set() for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            scope = _Scope(function, given[name])
            for call in scope.calls():
                if isinstance(call.func, ast.Name) and call.func.id in functions:
                    parameters = [a.arg for a in functions[call.func.id].args.args]
                    passed = zip(parameters, call.args, strict=False)
                    given[call.func.id] |= {p for p, value in passed if scope.is_array(value)}
    for name, function in functions.items():
        for node in _Scope(function, given[name]).computations():
            return node, ast.unparse(node)[:60]
    return None


class _Scope:
    """The arrays of one function, regardless of the order of its statements."""

    def __init__(self, function: ast.FunctionDef, parameters: Collection[str]) -> None:
        self._nodes = list(_inside(function))
        self._arrays = set(parameters)
        known = -1
        while known != len(self._arrays):
            known = len(self._arrays)
            for node in self._nodes:
                self._learn(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            self._bind(node.target, node.value)

    def _bind(self, target: ast.AST, value: ast.AST) -> None:
        if isinstance(target, ast.Name):
            if self.is_array(value):
                self._arrays.add(target.id)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, its in zip(target.elts, value.elts, strict=False):
                self._bind(one, its)

    def is_array(self, node: ast.AST) -> bool:
        """Whether an expression is an array with a tensor's data."""
        if isinstance(node, ast.Name):
            return node.id in self._arrays
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Attribute):
                return False
            made = node.func.attr not in ("item", "tolist") and any(self.is_array(a) for a in node.args)
            return (
                node.func.attr == "numpy"
                or self.is_array(node.func.value)
                or (made and self._numpy(node.func))
            )
        if isinstance(node, ast.Attribute):
            return node.attr in VIEWS and self.is_array(node.value)
        if isinstance(node, ast.Subscript):
            single = isinstance(node.slice, (ast.Constant, ast.UnaryOp))
            return not single and self.is_array(node.value)
        return False

    @staticmethod
    def _numpy(function: ast.Attribute) -> bool:
        return isinstance(function.value, ast.Name) and function.value.id in ("np", "numpy")

    def calls(self) -> Iterator[ast.Call]:
        """All calls of the function."""
        return (node for node in self._nodes if isinstance(node, ast.Call))

    def computations(self) -> Iterator[ast.AST]:
        """Operators on arrays and methods that compute."""
        for node in self._nodes:
            operands: list[ast.AST] = []
            if isinstance(node, ast.BinOp):
                operands = [node.left, node.right]
            elif isinstance(node, ast.UnaryOp):
                operands = [node.operand]
            elif isinstance(node, ast.AugAssign):
                operands = [node.target, node.value]
            elif isinstance(node, ast.Compare) and not all(
                isinstance(o, (ast.Is, ast.IsNot)) for o in node.ops
            ):
                operands = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                operands = [] if node.func.attr in METHODS else [node.func.value]
            if any(self.is_array(operand) for operand in operands):
                yield node


def _inside(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions within it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))
