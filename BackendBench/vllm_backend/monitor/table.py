"""A table of texts: made once, drawn on a terminal here, in Markdown and HTML by the report's templates."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

PADDING = 3
"""Characters between two columns as rich draws them."""
COLOURS = {"faster": "green", "slower": "red", "undecided": "yellow"}


@dataclass(frozen=True)
class Column:
    """One column. Numbers are aligned to the right."""

    name: str
    number: bool = True
    spare: bool = False
    """Left out first where there is no room for all."""


@dataclass(frozen=True)
class Table:
    """A table of texts, ready to show."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    brief: bool = True
    """Also for a terminal."""
    emphasis: frozenset[int] = field(default=frozenset())
    """Rows that stand out: totals."""


def columns(
    first: str, *numbers: str, last: str | None = None, spare: frozenset[str] = frozenset()
) -> tuple[Column, ...]:
    """A name, numbers, and perhaps a remark. ``spare``: names of numbers that may be left out."""
    names = (Column(first, number=False), *(Column(name, spare=name in spare) for name in numbers))
    return names if last is None else (*names, Column(last, number=False))


def fitted(table: Table, width: int) -> Table:
    """The table without as many of its spare columns, from the right, as it takes to fit ``width`` characters."""
    kept = list(range(len(table.columns)))
    spare = [place for place in kept if table.columns[place].spare]
    while spare and sum(_width(table, place) for place in kept) > width:
        kept.remove(spare.pop())
    if len(kept) == len(table.columns):
        return table
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows)


def _full_width(table: Table, place: int) -> int:
    """As ``_width``, with the name in one line."""
    return max(_width(table, place), len(table.columns[place].name) + PADDING)


def _width(table: Table, place: int) -> int:
    """Characters of a column: its longest cell, or the longest word of its name, and the padding."""
    words = table.columns[place].name.split() or [""]
    return max(map(len, [*words, *(row[place] for row in table.rows)])) + PADDING


def drawn(table: Table, width: int | None = None) -> RichTable:
    """As rich draws it. ``width``: characters there are; where they are few, names break rather than numbers."""
    made = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    narrow = width is not None and sum(_full_width(table, i) for i in range(len(table.columns))) > width
    for place, column in enumerate(table.columns):
        name = textwrap.fill(column.name, _width(table, place) - PADDING) if narrow else column.name
        made.add_column(name, justify="right" if column.number else "left", overflow="fold")
    for place, row in enumerate(table.rows):
        style = "bold" if place in table.emphasis else None
        made.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in row), style=style)
    return made
