"""A run's directory: names, lock, record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from BackendBench.vllm_backend.config import ConfigError, RunConfig, resolve
from BackendBench.vllm_backend.fleet.run_directory import RunDirectory, RunRecord, lives
from tests.fleet.processes import eventually


def config(folder: Path, **flags: object) -> RunConfig:
    return resolve(RunConfig, {"runs_dir": str(folder), **flags}, environment={})


def test_two_runs_of_one_second_get_two_directories(tmp_path: Path) -> None:
    first, second = (RunDirectory.create(config(tmp_path), ["relu"]) for _ in range(2))
    assert first.path != second.path
    assert {first.path.parent, second.path.parent} == {tmp_path}
    assert first.name.endswith("-relu")


def test_a_name_of_many_operations_stays_short(tmp_path: Path) -> None:
    made = RunDirectory.create(config(tmp_path), ["relu", "add", "mul", "sigmoid", "softmax"])
    assert made.name.endswith("-relu-add-mul-and-2-more")


def test_a_directory_that_holds_a_run_is_not_used_again(tmp_path: Path) -> None:
    chosen = config(tmp_path, run_dir=str(tmp_path / "mine"))
    made = RunDirectory.create(chosen, ["relu"])
    made.write_record(RunRecord("mine", "given"))
    made.close()
    with pytest.raises(ConfigError, match="run --resume"):
        RunDirectory.create(chosen, ["relu"])


def test_a_living_run_cannot_be_resumed_and_a_killed_one_can(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path;"
        "from BackendBench.vllm_backend.fleet.run_directory import RunDirectory, RunRecord;"
        "d = RunDirectory(Path(sys.argv[1])); (d.path / 'logs').mkdir();"
        "d.write_record(RunRecord('r', 'given')); d._take(); print('locked', flush=True); time.sleep(1000)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert holder.stdout is not None and holder.stdout.readline()
    assert lives(tmp_path)
    with pytest.raises(ConfigError, match="still working"):
        RunDirectory.reopen(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert eventually(lambda: not lives(tmp_path))
    assert RunDirectory.reopen(tmp_path).read_record().run == "r"


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run directory"):
        RunDirectory.reopen(tmp_path)


def test_a_directory_without_a_run_goes_away_but_never_a_users_file(tmp_path: Path) -> None:
    made = RunDirectory.create(config(tmp_path), ["relu"])
    made.discard()
    assert not made.path.exists()
    made = RunDirectory.create(config(tmp_path), ["relu"])
    (made.path / "note.txt").write_text("mine")
    made.discard()
    assert (made.path / "note.txt").read_text() == "mine"
