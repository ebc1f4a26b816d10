"""The pages say what the code has: every error type, every table's marker, no dead link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from BackendBench.vllm_backend.state.error_type import ErrorType

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_error_type_has_one_line():
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    section = text.split("## Error types")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M)[1:] == [e.value for e in ErrorType]


def test_every_measured_table_has_its_place():
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    assert [text.count(f"<!-- table: {name} -->") for name in ("throughput", "clock", "attacks")] == [1, 1, 1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
