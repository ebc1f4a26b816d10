"""From what a model wrote to one kernel module, or to the reason why there is none.

- Text that is, as a whole, a module with the function is taken as it is. Otherwise: reasoning is dropped, the
  code blocks are looked at, and without any block the code is cut out of the prose around it.
- The last complete block that defines the function wins: models write attempts first and the answer last.
- A block that uses names of another one gets just the statements that bind them, and only when each name has
  one definition. Nothing else is ever added: a forgotten import stays forgotten, and the judge says so.
- A function of another name is accepted when it is the only plausible one: exactly one ``*_kernel_impl``, else
  exactly one undecorated function, else exactly one function. It is not renamed: ``expected = found`` is put
  below it, so nothing inside it changes its meaning.
- Invisible characters and a common indentation are removed only from what does not parse with them.
- Never raises. Linear in the length of the text.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ..state.source import UNPARSABLE, parse
from .fences import Block, blocks
from .joining import AmbiguousHelper, joined
from .names import Function, bound, functions
from .reasoning import answer

LONGEST_CODE = 100_000
"""Characters. The longest hand-written kernels have some 20,000; what is longer is repetition."""
BLOCKS_KEPT = 64
"""Blocks looked at, counted from the end, where the answer is."""
STARTS = 4
"""Lines at which code without fences may begin that are tried; each costs two parses."""
PYTHON_LANGUAGES = frozenset({"", "python", "py", "python3", "py3", "triton", "numba", "code", "cuda-python"})
IMPL_SUFFIX = "_kernel_impl"

_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\x00\x0c]")
_ODD_SPACE = re.compile("[\u00a0\u2007\u202f\u3000]")
_CODE_START = re.compile(r"^(?:import |from \S+ import |@\w|def \w|class \w|async def \w)", re.MULTILINE)


class Unusable(str, Enum):
    """Why no kernel could be extracted. The value is what the counters and reports show."""

    EMPTY = "empty"
    UNFINISHED_REASONING = "unfinished_reasoning"
    """The output ends before the answer began."""
    NO_CODE = "no_code"
    TRUNCATED = "truncated"
    """The code stops in the middle: the token limit, or a block that was never closed."""
    UNPARSABLE = "unparsable"
    """There is code, complete as far as one can see, and it is not Python."""
    MISSING_FUNCTION = "missing_function"
    AMBIGUOUS_FUNCTION = "ambiguous_function"
    """The function is missing and several others could be meant."""
    AMBIGUOUS_HELPER = "ambiguous_helper"
    """The code needs a name that other blocks define differently."""
    TOO_LONG = "too_long"


@dataclass(frozen=True)
class Extracted:
    """A module that parses and binds the function."""

    code: str
    alias_of: str = ""
    """Name that the model gave the function, when it was another one."""
    joined: bool = False
    """Statements of other blocks were put in front."""


@dataclass(frozen=True)
class _Piece:
    """A block that parses."""

    code: str
    tree: ast.Module

    def binds(self, name: str) -> bool:
        return any(name in bound(statement) for statement in self.tree.body)


def extract(text: str, function: str, *, truncated: bool = False) -> Extracted | Unusable:
    """The module in ``text`` that defines ``function``; ``truncated``: the token limit ended the text."""
    text = _clean(text)
    if not text.strip():
        return Unusable.EMPTY
    whole = _piece(text)
    if whole and whole.binds(function):
        return _result(whole.code)
    final = answer(text)
    found = [b for b in blocks(final.text) if b.code.strip()]
    if found:
        return _from_blocks(found, function, truncated)
    if not final.text.strip():
        return Unusable.UNFINISHED_REASONING if final.unfinished_reasoning else Unusable.EMPTY
    result = _from_prose(final.text, function, truncated)
    if result is Unusable.NO_CODE and final.unfinished_reasoning:
        return Unusable.UNFINISHED_REASONING
    return result


def _from_blocks(found: Sequence[Block], function: str, truncated: bool) -> Extracted | Unusable:
    python = [b for b in found if b.language in PYTHON_LANGUAGES][-BLOCKS_KEPT:]
    if not python:
        return Unusable.NO_CODE
    read = [(b, _piece(b.code) if b.closed else _piece(b.code) or _cut(b.code, function)) for b in python]
    # What the token limit ended may parse and still lack its last lines.
    complete = [(b, p) for b, p in read if p and (b.closed or not truncated)]
    pieces = [p for _, p in complete]
    defining = [(b.closed, p) for b, p in complete if p.binds(function)]
    if defining:
        closed = [p for is_closed, p in defining if is_closed]
        chosen = closed[-1] if closed else defining[-1][1]
        return _with_helpers(chosen, pieces=pieces, function=function)
    unread = _unread(read, function, truncated)
    if unread:
        return unread
    plausible = _plausible(pieces)
    if isinstance(plausible, Unusable):
        return plausible
    return _with_helpers(*plausible, pieces=pieces, function=function)


def _from_prose(text: str, function: str, truncated: bool) -> Extracted | Unusable:
    """Code without a fence: from the first line that looks like code to where prose begins again."""
    if truncated and f"def {function}" in text:
        return Unusable.TRUNCATED
    starts = [match.start() for _, match in zip(range(STARTS), _CODE_START.finditer(text), strict=False)]
    for start in starts:
        piece = _piece(text[start:]) or _cut(text[start:], function)
        if piece and piece.binds(function):
            return _result(piece.code)
    if f"def {function}" in text:
        return Unusable.TOO_LONG if len(text) > LONGEST_CODE else Unusable.UNPARSABLE
    if not starts:
        return Unusable.NO_CODE
    first = _piece(text[starts[0] :])
    plausible = _plausible([first] if first else [])
    if isinstance(plausible, Unusable):
        return plausible if first else Unusable.NO_CODE
    return _with_helpers(*plausible, pieces=[], function=function)


def _unread(read: Sequence[tuple[Block, _Piece | None]], function: str, truncated: bool) -> Unusable | None:
    """The reason, when a block that seems to hold the function could not be read."""
    for block, piece in reversed(read):
        if f"def {function}" not in block.code or (piece and (block.closed or not truncated)):
            continue
        if len(block.code) > LONGEST_CODE:
            return Unusable.TOO_LONG
        return Unusable.UNPARSABLE if block.closed else Unusable.TRUNCATED
    if any(piece for _, piece in read):
        return None
    last = read[-1][0]
    if len(last.code) > LONGEST_CODE:
        return Unusable.TOO_LONG
    return Unusable.UNPARSABLE if last.closed else Unusable.TRUNCATED


def _plausible(pieces: Sequence[_Piece]) -> tuple[_Piece, str] | Unusable:
    """The one function that can be meant, and its last piece."""
    by_name: dict[str, tuple[_Piece, Function]] = {}
    for piece in pieces:
        for node in functions(piece.tree):
            by_name[node.name] = (piece, node)
    callable_ones = {n: found for n, found in by_name.items() if _takes_inputs(found[1])}
    named = [n for n in callable_ones if n.endswith(IMPL_SUFFIX)]
    plain = [n for n, (_, node) in callable_ones.items() if not node.decorator_list]
    for choice in (named, plain, list(callable_ones)):
        if len(choice) == 1:
            return callable_ones[choice[0]][0], choice[0]
        if choice:
            return Unusable.AMBIGUOUS_FUNCTION
    return Unusable.MISSING_FUNCTION


def _takes_inputs(node: Function) -> bool:
    """Whether it may be the entry: tests and mains take nothing, and a Triton kernel is launched, not called."""
    arguments = node.args
    if isinstance(node, ast.AsyncFunctionDef):
        return False
    if not (arguments.posonlyargs or arguments.args or arguments.vararg or arguments.kwonlyargs):
        return False
    return not any(_root(decorator) == "triton" for decorator in node.decorator_list)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _with_helpers(
    piece: _Piece, name: str = "", *, pieces: Sequence[_Piece], function: str
) -> Extracted | Unusable:
    others = [p.code for p in pieces if p is not piece]
    try:
        code = joined(piece.code, others)
    except AmbiguousHelper:
        return Unusable.AMBIGUOUS_HELPER
    added = code != piece.code
    if name:
        code = f"{code.rstrip()}\n\n\n{function} = {name}\n"
    return _result(code, name, added)


def _result(code: str, alias_of: str = "", joined: bool = False) -> Extracted | Unusable:
    tidy = code.strip("\n").rstrip() + "\n"
    if len(tidy) > LONGEST_CODE:
        return Unusable.TOO_LONG
    return Extracted(tidy, alias_of, joined)


def _piece(code: str) -> _Piece | None:
    """The block, if it parses as it is or without what cannot be seen; None otherwise."""
    if len(code) > LONGEST_CODE:
        return None
    tried: set[str] = set()
    visible = _ODD_SPACE.sub(" ", _INVISIBLE.sub("", code))
    for variant in (code, visible, textwrap.dedent(visible)):
        if variant in tried:
            continue
        tried.add(variant)
        try:
            return _Piece(variant, parse(variant))
        except UNPARSABLE:
            continue
    return None


def _cut(code: str, function: str) -> _Piece | None:
    """The code without the prose below it; None when the error is within the code."""
    if len(code) > LONGEST_CODE:
        return None
    visible = _ODD_SPACE.sub(" ", _INVISIBLE.sub("", code))
    try:
        parse(visible)
        return None
    except SyntaxError as error:
        line = error.lineno or 0
    except UNPARSABLE:
        return None
    lines = visible.split("\n")
    if not 1 < line <= len(lines) or lines[line - 1][:1].isspace():
        return None
    if _CODE_START.search("\n".join(lines[line - 1 :])):
        return None  # code goes on below: nobody knows what was meant
    try:
        tree = parse("\n".join(lines[: line - 1]))
    except UNPARSABLE:
        return None
    while tree.body and _is_word(tree.body[-1]):
        line = tree.body.pop().lineno
    piece = _Piece("\n".join(lines[: line - 1]), tree)
    return piece if piece.binds(function) else None


def _is_word(statement: ast.stmt) -> bool:
    """A statement such as ``Explanation``: the first word of prose, without effect as code."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Tuple)


def _clean(text: str) -> str:
    """Line ends of Unix, and nothing that UTF-8 cannot hold."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-8", "replace").decode("utf-8")
