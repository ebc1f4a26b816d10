"""The whole report over a real Redis: verdicts committed by the farm's own script, three files that agree."""

from __future__ import annotations

import base64
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import redis

from BackendBench.vllm_backend.monitor import words
from BackendBench.vllm_backend.monitor.report.model import Report
from BackendBench.vllm_backend.monitor.report.source import UnknownRun
from BackendBench.vllm_backend.monitor.report.tables import tables
from BackendBench.vllm_backend.monitor.report.write import NAMES, report_run
from BackendBench.vllm_backend.state.run_state import RunStore
from tests.monitor.books import CONFIG, RUN, end, small_run

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tables by id, attributes that could reach elsewhere, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.references: list[str] = []
        self.images: list[bytes] = []
        self.names: set[str] = set()
        self._open: list[str] = []
        self._table = ""
        self._cell: list[str] | None = None
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.names.add(tag)
        self.references += [
            values[name] for name in ("src", "href", "srcset", "action", "data") if name in values
        ]
        if tag == "img":
            kind, _, data = values["src"].partition(",")
            assert kind == "data:image/png;base64"
            self.images.append(base64.b64decode(data, validate=True))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = values["id"]
            assert self._table not in self.tables
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, tag
        if tag in ("td", "th") and self._cell is not None:
            self.tables[self._table][-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """Rows of the table below each heading, without the line of dashes."""
    found: dict[str, list[list[str]]] = {}
    for part in text.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        lines = [line for line in rest.splitlines() if line.startswith("|")]
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
        found[title] = [
            [cell.strip().replace("\\|", "|") for cell in row] for row in rows if "---" not in row[0]
        ]
    return found


def made(
    client: redis.Redis, directory: Path, run: str = RUN, *, alive: bool = False
) -> tuple[Report, Page, str]:
    report = report_run(client, run, directory, alive=alive)
    assert Report.model_validate_json((directory / "report.json").read_text("utf-8")) == report
    markdown = (directory / "report.md").read_text("utf-8")
    return report, Page((directory / "report.html").read_text("utf-8")), markdown


def test_numbers_are_those_of_the_verdicts(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client)
    end(redis_client)
    report, _, _ = made(redis_client, tmp_path)
    counts = report.counts
    assert (counts.generated, counts.duplicates, counts.unusable, counts.evaluated) == (8, 1, 1, 6)
    assert (counts.correct, counts.faster, counts.waiting) == (2, 1, 0)
    assert report.failures == {"wrong_values": 3, "timeout": 1}
    assert report.unusable_reasons == {"no_code": 1}
    relu = report.operations[0]
    assert relu.best is not None and relu.best.faster_than_eager
    assert (relu.best.speedup, relu.best.speedup_low, relu.best.speedup_high) == (1.5, 1.4, 1.625)
    assert relu.best.workloads[0].eager_us == 150.0
    assert relu.cost.tokens == 600 and relu.cost.tokens_per_accepted == 300
    assert relu.cost.gpu_seconds_per_accepted == 3.0
    assert report.stage_seconds == {"timing": 2.5, "compile": 2.0, "correctness": 0.5}
    assert relu.cost.evaluation_seconds_per_candidate == 1.25
    assert [len(steps) for steps in report.timeline.best.values()] == [2]
    assert report.devices[0].conditions["threads"] == "2"
    assert report.settings == CONFIG


def test_json_markdown_and_html_agree_cell_by_cell(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client)
    end(redis_client)
    report, page, markdown = made(redis_client, tmp_path)
    written = tables(report)
    in_markdown = markdown_tables(markdown)
    assert [table.title for table in written] == list(in_markdown)
    assert {table.key for table in written} == set(page.tables)
    for table in written:
        wanted = [[column.name for column in table.columns], *map(list, table.rows)]
        assert page.tables[table.key] == wanted
        assert in_markdown[table.title] == wanted
    data = json.loads((tmp_path / "report.json").read_text("utf-8"))
    (relu,) = [row for row in page.tables["operations"] if row[0] == "relu"]
    best = data["operations"][0]["best"]
    assert relu[9:] == [
        words.speedup(best["speedup"]), words.interval(best["speedup_low"], best["speedup_high"]), "faster"
    ]  # fmt: skip
    assert relu[1:7] == [
        str(data["operations"][0]["counts"][name])
        for name in ("generated", "duplicates", "unusable", "evaluated", "correct", "faster")
    ]


def test_the_page_needs_nothing_from_elsewhere(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client)
    end(redis_client)
    _, page, _ = made(redis_client, tmp_path)
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not page.names & {"script", "link", "iframe", "object", "embed", "base"}
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", text))
    assert len(page.images) == 4
    assert all(image.startswith(b"\x89PNG") and len(image) > 2000 for image in page.images)


def test_text_of_the_run_is_escaped(redis_client: redis.Redis, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> | `x`"
    small_run(redis_client, note=hostile)
    end(redis_client, reason=hostile)
    report, page, markdown = made(redis_client, tmp_path)
    assert report.reason == hostile
    assert "script" not in page.names
    assert ["note", hostile] in page.tables["settings"]
    assert html.escape("Some CPU | 2 cores <fast>") in (tmp_path / "report.html").read_text("utf-8")
    assert ["device", "Some CPU | 2 cores <fast>"] in markdown_tables(markdown)["Conditions"]


def test_an_empty_run_makes_a_valid_report(redis_client: redis.Redis, tmp_path: Path) -> None:
    RunStore(redis_client).create("empty", ["relu"], {"engine": "grammar"})
    end(redis_client, "empty", "stopped", "interrupted")
    report, page, markdown = made(redis_client, tmp_path, "empty")
    assert (report.counts.generated, report.state, report.reason) == (0, "stopped", "interrupted")
    assert page.images == []  # nothing to draw
    assert ["device", "nothing was judged"] in page.tables["conditions"]
    assert "failures" not in page.tables and "Failures by class" not in markdown
    relu = page.tables["operations"][1]
    assert relu[-1] == "nothing judged" and relu[9] == words.NOTHING


def test_a_run_without_operations_makes_a_valid_report(redis_client: redis.Redis, tmp_path: Path) -> None:
    RunStore(redis_client).create("none", [], {})
    report, _, _ = made(redis_client, tmp_path, "none", alive=True)
    assert report.operations == ()


def test_a_run_in_progress_says_so(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client)
    report, _, markdown = made(redis_client, tmp_path, alive=True)
    assert (report.state, report.ended) == ("running", None)
    assert report.counts.evaluated == 6
    assert "The run goes on" in markdown
    assert "The run goes on" in (tmp_path / "report.html").read_text("utf-8")
    end(redis_client)
    report, _, markdown = made(redis_client, tmp_path)  # the same files, written again
    assert report.state == "finished" and "goes on" not in markdown


def test_the_grammar_is_never_passed_off_as_a_model(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client)
    end(redis_client)
    report, _, markdown = made(redis_client, tmp_path)
    assert report.engine.statement.startswith("No language model")
    for text in (markdown, (tmp_path / "report.html").read_text("utf-8")):
        assert report.engine.statement in text


def test_another_run_s_kernel_is_not_this_run_s_best(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client, "first")
    small_run_again_all_duplicates(redis_client)
    report, page, _ = made(redis_client, tmp_path, "second", alive=True)
    assert report.operations[0].best is None and report.counts.duplicates == 4
    assert report.operations[0].known_speedup == 1.5
    assert "an earlier run's kernel, written again: 1.50×" in page.tables["operations"][1]


def small_run_again_all_duplicates(client: redis.Redis) -> None:
    from tests.state.samples import candidate, group, request, submit

    RunStore(client).create("second", ["relu"], CONFIG)
    task = group("second/relu/0", run="second", operation="relu", n=4)
    request(client, task)
    again = [candidate(f"{task.id}:{i}", run="second", code=f"relu {i}") for i in range(4)]
    assert submit(client, *again) == ["duplicate"] * 4


def test_an_unknown_run_is_told(redis_client: redis.Redis, tmp_path: Path) -> None:
    with pytest.raises(UnknownRun):
        report_run(redis_client, "nobody", tmp_path, alive=False)
    assert list(tmp_path.iterdir()) == []


def test_only_the_three_files_are_written(redis_client: redis.Redis, tmp_path: Path) -> None:
    small_run(redis_client)
    made(redis_client, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
