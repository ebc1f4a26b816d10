"""Code blocks of a Markdown text as models write it. Pure; one pass over the lines.

- A fence is a line of three or more backticks or tildes with an optional info string; it may be indented (a
  list item), and then its content is taken back by that indentation.
- A block is closed by a fence of its kind at least as long, or by the end of a line of code (``return y``` ``).
- An opening fence inside an open block begins a new one: the model forgot to close. A fence that stands deeper
  than its block opened is content: docstrings hold examples.
- A block that the text ends in is unclosed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent>[ \t>]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_TAIL_OPEN = re.compile(r"(?<!`)```(?P<info>[A-Za-z0-9_+-]*)[ \t]*$")
_TAIL_CLOSE = re.compile(r"[^`](?P<fence>`{3,})[ \t]*$")
DEEPEST_CLOSE = 3
"""A closing fence may stand this much deeper than the opening one, as in CommonMark."""


@dataclass(frozen=True)
class Block:
    """One code block."""

    code: str
    language: str
    """First word of the info string in lower case; '' when there is none."""
    closed: bool


@dataclass
class _Open:
    fence: str
    indent: int
    language: str
    lines: list[str]

    def block(self, closed: bool) -> Block:
        return Block("\n".join(_back(line, self.indent) for line in self.lines), self.language, closed)


def blocks(text: str) -> list[Block]:
    """All blocks in order."""
    found: list[Block] = []
    current: _Open | None = None
    for line in text.split("\n"):
        fence = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if current is None:
            current = _opened(line, fence)
        elif fence and _ends(current, fence):
            found.append(current.block(closed=True))
            current = None
        elif fence and _begins_anew(current, fence):
            found.append(current.block(closed=False))
            current = _opened(line, fence)
        elif "```" in line and not fence and _closes_line(current, line):
            current.lines.append(line[: line.rindex("`" * len(current.fence))].rstrip("`"))
            found.append(current.block(closed=True))
            current = None
        else:
            current.lines.append(line)
    if current is not None:
        found.append(current.block(closed=False))
    return found


def _opened(line: str, fence: re.Match[str] | None) -> _Open | None:
    if fence:
        return _Open(fence["fence"], len(fence["indent"]), _language(fence["info"]), [])
    if line.count("```") == 1:
        tail = _TAIL_OPEN.search(line)
        if tail:
            return _Open("```", 0, _language(tail["info"]), [])
    return None


def _ends(current: _Open, fence: re.Match[str]) -> bool:
    return (
        not fence["info"].strip()
        and fence["fence"][0] == current.fence[0]
        and len(fence["fence"]) >= len(current.fence)
        and len(fence["indent"]) <= current.indent + DEEPEST_CLOSE
    )


def _begins_anew(current: _Open, fence: re.Match[str]) -> bool:
    return (
        bool(fence["info"].strip())
        and fence["fence"] == current.fence
        and len(fence["indent"]) <= current.indent + DEEPEST_CLOSE
    )


def _closes_line(current: _Open, line: str) -> bool:
    tail = _TAIL_CLOSE.search(line)
    return bool(tail) and current.fence == "```" and line.count("```") == 1


def _language(info: str) -> str:
    words = re.split(r"[\s:{},;]+", info.strip().lower().lstrip("{."), maxsplit=1)
    return words[0] if words else ""


def _back(line: str, indent: int) -> str:
    """The line without the indentation of its fence (which may hold the marks of a quotation)."""
    width = 0
    while width < min(indent, len(line)) and line[width] in " \t>":
        width += 1
    return line[width:]
