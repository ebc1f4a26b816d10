"""A machine without a model: the farm's own small model writes the candidates, from prompt to report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from BackendBench.vllm_backend.config import read_file
from BackendBench.vllm_backend.generation.engines.embedded import MODEL
from BackendBench.vllm_backend.generation.kernel_lm import own_sampling
from tests.commands import SCRIPT, farm

pytestmark = pytest.mark.slow

SMALL = (
    "--operations",
    "relu",
    "--target",
    "cpu",
    "--candidates-per-op",
    "16",
    "--timing",
    "none",
    "--seed",
    "0",
)


def test_without_a_model_the_small_one_writes_and_is_sampled_as_its_files_say(tmp_path: Path) -> None:
    done = farm(*SMALL, "--json", cwd=tmp_path, program=SCRIPT)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["engine"]["name"], report["engine"]["models"]) == ("embedded", [MODEL])
    assert report["engine"]["language_model"] is True
    assert "small language model" in report["engine"]["statement"]
    assert "engine embedded" in done.err
    counts = report["counts"]
    assert counts["generated"] == 16 and counts["correct"] >= 1, counts
    (directory,) = [path.parent for path in (tmp_path / "runs").glob("*/run.json")]
    written = read_file(directory / "config.yaml")
    for settings in (report["settings"], written):
        assert (settings["temperature"], settings["top_p"]) == own_sampling()


def test_flags_win_over_the_model_s_own_sampling(tmp_path: Path) -> None:
    done = farm("run", *SMALL, "--temperature", "0", "--candidates-per-op", "8", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["settings"]["temperature"], report["settings"]["top_p"]) == (0.0, own_sampling()[1])
    assert report["counts"]["duplicates"] >= 7, "the likeliest kernel, eight times"
