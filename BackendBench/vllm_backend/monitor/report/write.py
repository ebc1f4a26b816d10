"""Writes a report: ``report.json``, ``report.md``, ``report.html``. Each file is there whole or not at all.

The HTML needs nothing but itself: plots, style and text in one file, no script, no reference to elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import redis
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from .. import words
from . import source
from .collect import collect
from .model import Report
from .tables import tables

NAMES = ("report.json", "report.md", "report.html")


def report_run(client: redis.Redis, run: str, directory: Path, *, alive: bool) -> Report:
    """Read, aggregate and write into ``directory``. Raises UnknownRun, redis-py's errors, OSError."""
    report = collect(source.read(client, run, alive=alive))
    write(report, directory)
    return report


def write(report: Report, directory: Path) -> list[Path]:
    """The three files. Raises OSError."""
    texts = {"report.json": as_json(report), "report.md": markdown(report), "report.html": html(report)}
    for name, text in texts.items():
        draft = directory / f".{name}.new"
        draft.write_text(text, "utf-8")
        draft.replace(directory / name)
    return [directory / name for name in texts]


def as_json(report: Report) -> str:
    """All of it; ``Report.model_validate_json`` reads it back."""
    return report.model_dump_json(indent=2) + "\n"


def markdown(report: Report) -> str:
    """For a repository or an issue: no plots."""
    return _environment().get_template("report.md.j2").render(report=report, tables=tables(report))


def html(report: Report) -> str:
    """Self-contained, with plots."""
    from . import plots  # matplotlib: half a second that only this form needs

    return (
        _environment()
        .get_template("report.html.j2")
        .render(report=report, tables={t.key: t for t in tables(report)}, plots=plots.draw(report))
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__ or "", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["words"] = words
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    return environment
