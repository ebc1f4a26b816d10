"""The report on a terminal, or as plain text where the output is none: the brief tables, drawn by rich."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from .model import Report
from .tables import Table, tables

COLOURS = {"faster": "green", "slower": "red", "undecided": "yellow"}


def show(report: Report, console: Console) -> None:
    """Print the report."""
    for table in tables(report):
        if table.brief:
            console.print(drawn(table))
            console.print()
    if not report.engine.language_model:
        console.print(Text(report.engine.statement, style="yellow"))


def drawn(table: Table) -> RichTable:
    """A table of the report, or of a command that shows the same kind, as rich draws it."""
    made = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns:
        made.add_column(column.name, justify="right" if column.number else "left", overflow="fold")
    for place, row in enumerate(table.rows):
        style = "bold" if place in table.emphasis else None
        made.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in row), style=style)
    return made
