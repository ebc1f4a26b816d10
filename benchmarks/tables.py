"""Puts what the benchmarks measured into the documentation, as tables at its markers.

    python benchmarks/tables.py [FILE.json ...] [--docs DIR]

- FILE: what evaluation_throughput.py, clock.py, attacks.py, generation_throughput.py, policies.py or shared_gpu.py
  wrote with ``--out``, or the report.json of a run; the contents say which it is.
  Default: all of benchmarks/results. Give all files of a kind together (CPU and GPU): they replace what was there.
- A marker ``<!-- table: NAME -->`` stays; what follows it, up to ``<!-- end of table: NAME -->``, is replaced. The same
  files give the same text again. A page without a marker is left alone.
- Every table says when, on what and by which command; nothing is computed here that the files do not hold.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

sys.path.insert(0, str(Path(__file__).parents[1]))

from BackendBench.vllm_backend.monitor.report.model import Report
from benchmarks import generation_tables
from benchmarks.generation_tables import Generation, Policies, SharedGpu

ROOT = Path(__file__).parents[1]
PAGES = ("evaluation.md", "performance.md")


class BadFile(Exception):
    """A file that no benchmark wrote. One line."""


class _Measured(BaseModel):
    """What all of them hold. ``date`` and ``command`` are filled in where an older file lacks them."""

    device: str
    versions: dict[str, str] = {}
    date: str = ""
    command: str = ""


class Stage(BaseModel):
    """Wall seconds of one stage over all candidates that reached it."""

    seconds: float
    candidates: int
    mean_ms: float
    max_s: float


class Pass(BaseModel):
    """The stream judged once."""

    verdicts: int
    seconds: float
    verdicts_per_second: float
    worker_start_seconds: float
    exclusive_share: float
    """Of the wall time, 0..1."""
    largest_gap_seconds: float
    stages: dict[str, Stage]
    outcomes: dict[str, dict[str, int]]
    """What a candidate was written to be, to what it ended as, to how many."""
    surprises: list[str]


class Throughput(_Measured):
    """evaluation_throughput.py"""

    cores: int
    count: int
    passes: list[Pass] = Field(min_length=1)
    differences: list[str] | None = None


class Size(BaseModel):
    """One size of the kernel that is timed against itself."""

    workload: str
    repeats: int
    eager_us: float
    median: float
    low: float = Field(alias="p2.5")
    high: float = Field(alias="p97.5")
    within_1_percent: float
    within_3_percent: float
    interval_holds_1: float
    pairs: float


class Clock(_Measured):
    """clock.py"""

    rows: list[Size]
    rejected: list[str]
    faster_than_eager: int


class File(BaseModel):
    """One attack or control."""

    kind: Literal["attacks", "controls"]
    name: str
    operation: str
    outcome: str
    behind: str
    problem: str


class Attacks(_Measured):
    """attacks.py"""

    target: str
    sandbox: str
    rows: list[File]


Document = Throughput | Clock | Attacks | Generation | Policies | SharedGpu | Report
ONLY_HERE: tuple[tuple[str, type[BaseModel]], ...] = (
    ("passes", Throughput), ("faster_than_eager", Clock), ("prefix_hit_rate", Generation), ("policies", Policies),
    ("generated_meanwhile", SharedGpu), ("timeline", Report),
)  # fmt: skip
"""A key that only one script writes, and what its document is."""


def read(path: Path) -> Document:
    """What one file holds. Raises BadFile."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise BadFile(f"{path} is no JSON") from None
    try:
        found = parse(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadFile(f"{path} was not written by these benchmarks: {where}: {first['msg']}") from None
    if isinstance(found, _Measured) and not found.date:
        found.date = time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
    return found


def parse(data: Any) -> Document:
    """The document in decoded JSON, told apart by what only one script writes. Raises ValidationError."""
    keys = data if isinstance(data, dict) else {}
    kind = next((kind for key, kind in ONLY_HERE if key in keys), Attacks)
    return kind.model_validate(data)  # type: ignore[return-value]


def cell(value: object) -> str:
    """Text that cannot leave its cell nor end a table: messages of hostile kernels come along here."""
    text = " ".join(str(value).split()) or "-"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers to the right."""
    body = [list(row) for row in rows]
    numeric = [
        bool(body) and all(isinstance(row[i], int | float) for row in body) for i in range(len(header))
    ]
    lines = [header, ["---:" if n else "---" for n in numeric]]
    text = [[cell(v) for v in row] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *text])


def about(document: Throughput | Clock | Attacks, script: str) -> str:
    """When, on what, by which command."""
    versions = ", ".join(f"{name} {version}" for name, version in document.versions.items())
    cores = f", {document.cores} cores" if isinstance(document, Throughput) else ""
    command = document.command or f"python benchmarks/{script}"
    tail = f" ({cell(versions)})" if versions else ""
    return f"{cell(document.date)}, {cell(document.device)}{cores}{tail}: `{cell(command).replace('`', '')}`"


def throughput(documents: Sequence[Throughput]) -> str:
    """Verdicts a second, and where the seconds went."""
    return "\n\n".join(part for document in documents for part in _throughput(document))


def _throughput(document: Throughput) -> list[str]:
    last = document.passes[-1]
    parts = [
        about(document, "evaluation_throughput.py"),
        table(
            (
                "pass", "verdicts", "seconds", "verdicts/s", "device in exclusive use, %",
                "longest time without a verdict, s", "worker ready after, s", "other than written",
            ),
            [
                (number, p.verdicts, p.seconds, p.verdicts_per_second, round(100 * p.exclusive_share, 1),
                 p.largest_gap_seconds, p.worker_start_seconds, len(p.surprises))
                for number, p in enumerate(document.passes, 1)
            ],
        ),
        "Where the seconds of the last pass went; candidates are judged side by side, so they add up to more than the "
        "wall time:",
        table(
            ("stage", "seconds", "candidates", "mean ms", "max s"),
            [(name, s.seconds, s.candidates, s.mean_ms, s.max_s) for name, s in last.stages.items()],
        ),
        table(
            ("written as", "ended as"),
            [
                (kind, ", ".join(f"{name} {n}" for name, n in sorted(ends.items(), key=lambda e: (-e[1], e[0]))))
                for kind, ends in last.outcomes.items()
            ],
        ),
    ]  # fmt: skip
    if document.differences is not None:
        parts.append(
            f"Accept or reject differs between the passes for {len(document.differences)} of {document.count} "
            "candidates."
        )
    return parts


def clock(documents: Sequence[Clock]) -> str:
    """A kernel against itself."""
    return "\n\n".join(part for document in documents for part in _clock(document))


def _clock(document: Clock) -> list[str]:
    header = (
        "workload", "time, us", "repeats", "median ratio", "95 % of the ratios", "within 1 %, %", "within 3 %, %",
        "interval holds 1, %", "pairs",
    )  # fmt: skip
    rows = [
        (
            s.workload, s.eager_us, s.repeats, s.median, f"{s.low} to {s.high}", *(
                round(100 * share, 1) for share in (s.within_1_percent, s.within_3_percent, s.interval_holds_1)
            ), s.pairs,
        )
        for s in document.rows
    ]  # fmt: skip
    tail = f"Called faster than eager: {document.faster_than_eager} times; rejected: {len(document.rejected)} times."
    return [about(document, "clock.py"), table(header, rows), tail]


def attacks(documents: Sequence[Attacks]) -> str:
    """Every attack and every control with its end and where it was run."""
    parts = [f"{about(d, 'attacks.py')}; sandbox: {cell(d.sandbox)}" for d in documents]
    kinds: tuple[Literal["attacks", "controls"], ...] = ("attacks", "controls")
    for kind in kinds:
        rows = _merged(documents, kind)
        if not rows:
            continue
        total = sum(row.kind == kind for d in documents for row in d.rows)
        good = sum(row.kind == kind and not row.problem for d in documents for row in d.rows)
        parts.append(f"{kind.capitalize()}: {good} of {total} ended as they should.")
        parts.append(
            table((kind[:-1], "operation", "outcome", "behind the screen", "where", "problem"), rows)
        )
    return "\n\n".join(parts)


def _merged(documents: Sequence[Attacks], kind: str) -> list[tuple[str, ...]]:
    """One row for what ended alike on all devices."""
    where: dict[tuple[str, ...], list[str]] = {}
    for document in documents:
        for row in document.rows:
            if row.kind == kind:
                key = (row.name, row.operation, row.outcome, row.behind, row.problem)
                where.setdefault(key, []).append(document.target)
    return [(*key[:4], ", ".join(dict.fromkeys(targets)), key[4]) for key, targets in sorted(where.items())]


def joined(blocks: Iterable[generation_tables.Block]) -> str:
    """Texts and tables one below the other."""
    return "\n\n".join(
        one if isinstance(one, str) else table([str(h) for h in one[0]], one[1]) for one in blocks
    )


def tables(documents: Sequence[Document]) -> dict[str, str]:
    """Marker name to text, of what was measured."""
    found: dict[str, str] = {}
    makers: tuple[tuple[str, type[Any], Callable[[Any], str]], ...] = (
        ("throughput", Throughput, throughput), ("clock", Clock, clock), ("attacks", Attacks, attacks),
        ("generation", Generation, lambda found: joined(generation_tables.generation(found))),
        ("policies", Policies, lambda found: joined(generation_tables.policies(found))),
        ("shared_gpu", SharedGpu, lambda found: joined(generation_tables.shared_gpu(found))),
        ("loop", Report, lambda found: joined(generation_tables.loop(found))),
    )  # fmt: skip
    for name, kind, make in makers:
        mine = [d for d in documents if isinstance(d, kind)]
        if mine:
            found[name] = make(mine)
    return found


def inserted(page: str, found: dict[str, str]) -> str:
    """The page with every known table at its marker."""
    for name, text in found.items():
        start, end = f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"
        pattern = re.compile(f"{re.escape(start)}(?:(?:(?!<!-- table: ).)*?{re.escape(end)})?", re.S)
        block = f"{start}\n\n{text}\n\n{end}"
        page = pattern.sub(lambda _, block=block: block, page)  # type: ignore[misc]
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the pages")
    given = parser.parse_args(arguments)
    files = given.files or sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    try:
        if not files:
            raise BadFile("nothing to insert: run a benchmark with --out, then name its file")
        found = tables([read(file) for file in files])
    except BadFile as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for page in (given.docs / name for name in PAGES):
        if not page.exists():
            continue
        before = page.read_text("utf-8")
        after = inserted(before, found)
        if after != before:
            page.write_text(after, "utf-8")
        print(f"{page}: {'written' if after != before else 'nothing to change'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
