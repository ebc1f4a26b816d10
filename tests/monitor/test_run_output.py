"""What the main job prints, as its user runs it. The runs are out of time at once: what matters is the ending."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.commands import CLI, environment, farm

AT_ONCE = (
    "--operations",
    "relu",
    "--engine",
    "grammar",
    "--target",
    "cpu",
    "--max-minutes",
    "0.01",
    "--runs-dir",
    "runs",
)


def run_directory(folder: Path) -> Path:
    (found,) = [path.parent for path in (folder / "runs").glob("*/run.json")]
    return found


def test_json_on_standard_output_and_the_rest_on_standard_error(tmp_path: Path) -> None:
    done = farm("run", *AT_ONCE, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["state"], report["reason"]) == ("stopped", "--max-minutes is over")
    assert "engine grammar" in done.err and "generated" in done.err
    directory = run_directory(tmp_path)
    assert json.loads((directory / "report.json").read_text("utf-8")) == report
    assert report["settings"]["candidates_per_op"] == 40
    assert (directory / "report.md").is_file() and (directory / "report.html").is_file()


def test_a_reader_that_left_does_not_end_the_run(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [*CLI, "run", *AT_ONCE], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert run.stdout is not None and run.stderr is not None
    assert "engine grammar" in run.stdout.readline()
    run.stdout.close()
    assert run.wait(120) == 0
    assert run.stderr.read() == ""
    assert (run_directory(tmp_path) / "report.html").is_file()
