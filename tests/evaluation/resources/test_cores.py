"""Which cores are kept for what is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.resources.capacity import compilers
from BackendBench.vllm_backend.evaluation.resources.cores import LEAST_CORES, move, split


@given(st.sets(st.integers(0, 300), min_size=LEAST_CORES), st.text(max_size=20))
def test_every_core_is_for_compiling_or_for_timing(available, key):
    cores = split(available, "cuda", key)
    assert cores.working | cores.timing == available
    assert not cores.working & cores.timing
    assert len(cores.working) == compilers("cuda", len(available))
    assert len(cores.timing) >= 2


@pytest.mark.parametrize(("count", "target"), [(LEAST_CORES - 1, "cuda"), (64, "cpu")])
def test_few_cores_and_those_that_are_timed_on_are_everybodys(count, target):
    cores = split(range(count), target, "")
    assert cores.working == set(range(count))
    assert not cores.timing


def test_judges_of_several_gpus_do_not_all_keep_the_same_cores():
    kept = {split(range(64), "cuda", f"GPU-{number}").timing for number in range(8)}
    assert len(kept) > 4


THREADS = """
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


def test_all_threads_of_a_process_are_moved():
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        move(process.pid, {core})
        threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        assert len(threads) == 2
        assert all(os.sched_getaffinity(thread) == {core} for thread in threads)
        process.kill()


def test_a_process_that_is_gone_is_nobodys_fault():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    move(process.pid, {min(os.sched_getaffinity(0))})


def test_where_no_cores_are_kept_nobody_is_moved():
    before = os.sched_getaffinity(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("moved"))
        move(os.getpid(), set())
    assert os.sched_getaffinity(0) == before
