"""A table of texts: made once, drawn on a terminal here, in Markdown and HTML by the report's templates."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

COLOURS = {"faster": "green", "slower": "red", "undecided": "yellow"}


@dataclass(frozen=True)
class Column:
    """One column. Numbers are aligned to the right."""

    name: str
    number: bool = True


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


def columns(first: str, *numbers: str, last: str | None = None) -> tuple[Column, ...]:
    """A name, numbers, and perhaps a remark."""
    names = (Column(first, number=False), *map(Column, numbers))
    return names if last is None else (*names, Column(last, number=False))


def drawn(table: Table) -> RichTable:
    """As rich draws it."""
    made = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns:
        made.add_column(column.name, justify="right" if column.number else "left", overflow="fold")
    for place, row in enumerate(table.rows):
        style = "bold" if place in table.emphasis else None
        made.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in row), style=style)
    return made
