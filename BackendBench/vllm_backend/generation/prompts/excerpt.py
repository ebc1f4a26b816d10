"""The shortest useful part of an error message. Pure.

- Of a traceback: the last exception, and the last frame that is not inside a library.
- Colours, blank lines and repetitions are dropped.
- What is still too long keeps its first line, which says what is wrong, and its last ones, which say where.
"""

from __future__ import annotations

import re

LONGEST_EXCERPT = 600
"""Characters; some 150 tokens. A compiler's message with its line fits, a page of frames does not."""
READ_CHARACTERS = 20_000
"""Of a longer message only this much of either end is looked at."""
LONGEST_LINE = 300

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]*)", line (?P<line>\d+)(?:, in (?P<function>\S+))?')
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python\d|<frozen|^<__array_function__|^<string>$")
_NOISE = re.compile(r"^\s*[~^]+\s*$|^The above exception was|^During handling of the above|^\s*\.\.\. ?$")


def excerpt(message: str, limit: int = LONGEST_EXCERPT) -> str:
    """At most ``limit`` characters of ``message``."""
    if len(message) > 2 * READ_CHARACTERS:
        message = f"{message[:READ_CHARACTERS]}\n...\n{message[-READ_CHARACTERS:]}"
    text = _COLOUR.sub("", message).replace("\r\n", "\n")
    traceback = _TRACEBACK in text
    lines = (text.rpartition(_TRACEBACK)[2] if traceback else text).split("\n")
    return _fitted(_distinct(_of_traceback(lines) if traceback else lines), limit)


def _of_traceback(lines: list[str]) -> list[str]:
    """The exception with its text, the frame in the kernel in front."""
    last_frame = max((i for i, line in enumerate(lines) if _FRAME.match(line)), default=-1)
    if last_frame < 0:
        return lines
    end = last_frame + 1
    while end < len(lines) and (lines[end][:1].isspace() or _NOISE.match(lines[end])):
        end += 1
    where = ""
    for i in range(last_frame, -1, -1):
        frame = _FRAME.match(lines[i])
        if frame and (not _LIBRARY.search(frame["file"]) or i == 0):
            code = lines[i + 1].strip() if i + 1 < len(lines) and not _FRAME.match(lines[i + 1]) else ""
            name = f" of {frame['function']}" if frame["function"] not in (None, "<module>") else ""
            where = f"line {frame['line']}{name}: {code}".rstrip(": ")
            break
    return [where, *lines[end:]]


def _distinct(lines: list[str]) -> list[str]:
    """Without blank lines, marks and repetitions; none longer than LONGEST_LINE."""
    seen: set[str] = set()
    found: list[str] = []
    for line in lines:
        clean = _CONTROL.sub("", line).rstrip()
        key = " ".join(clean.split())
        if not key or key in seen or (_NOISE.match(clean) and len(found) == 0):
            continue
        seen.add(key)
        found.append(clean if len(clean) <= LONGEST_LINE else clean[: LONGEST_LINE - 4] + " ...")
    return found


def _fitted(lines: list[str], limit: int) -> str:
    whole = "\n".join(lines)
    if len(whole) <= limit:
        return whole
    first, rest = lines[0][: limit // 2], lines[1:]
    room = limit - len(first) - len("\n...")
    kept: list[str] = []
    while rest and len(rest[-1]) + 1 <= room:
        room -= len(rest[-1]) + 1
        kept.insert(0, rest.pop())
    return "\n".join([first, "...", *kept])[:limit]
