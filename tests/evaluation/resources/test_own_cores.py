"""A core of its own for each thread that works while it is timed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.processes import leftovers
from BackendBench.vllm_backend.evaluation.resources import own_cores
from BackendBench.vllm_backend.evaluation.resources.own_cores import (
    LEAST_NS,
    OwnCores,
    placed,
    run_ns,
    siblings,
    spread,
    working,
)


def test_who_works_is_who_ran_longest():
    before = {1: 500, 2: 100, 3: 0, 4: 7, 6: 0}
    now = {1: 900_500, 2: 60_100, 3: LEAST_NS - 1, 5: 10_000, 6: 8_000}  # 4 has ended, 5 has just come
    assert working(before, now, 9) == [1, 2, 6]
    assert working(before, now, 2) == [1, 2]
    assert working(before, before, 2) == []
    assert working({}, now, 2) == []


@given(st.permutations(range(6)), st.data())
def test_each_has_a_core_of_its_own_and_keeps_it(cores: list[int], data: st.DataObject):
    found: dict[int, int] = {}
    for _ in range(5):
        threads = data.draw(st.lists(st.integers(1, 12), unique=True, max_size=len(cores)))
        before, found = found, placed(threads, cores, found)
        assert list(found) == (threads if len(threads) > 1 else [])
        assert len(set(found.values())) == len(found)
        assert set(found.values()) <= set(cores)
        assert all(found[thread] == before[thread] for thread in found.keys() & before.keys())


def test_hardware_threads_of_the_same_core_come_late():
    pairs = {core: {core, core ^ 1} for core in range(8)}
    assert spread(range(8), pairs) == [0, 2, 4, 6, 1, 3, 5, 7]
    assert spread([1, 2, 3], pairs) == [1, 2, 3]
    assert spread([5, 3], {}) == [5, 3]


def test_each_core_of_this_machine_is_one_of_its_own_hardware_threads():
    assert all(core in same for core, same in siblings().items())


WORKS = """
import hashlib, sys, threading

def work():
    block = bytes(1 << 20)
    while True:
        hashlib.sha256(block)  # without the interpreter's lock

threading.Thread(target=lambda: threading.Event().wait(), daemon=True).start()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=work, daemon=True).start()
print("works", flush=True)
threading.Event().wait()
"""
SEEN_SECONDS = 0.2


@contextlib.contextmanager
def at_work(threads: int) -> Iterator[int]:
    """The number of a process of which so many threads work, and two wait."""
    process = subprocess.Popen([sys.executable, "-c", WORKS, str(threads)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        while leftovers.state(Path(f"/proc/{process.pid}/stat")) != "S":  # its main thread waits, too
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def worked(own: OwnCores, pid: int) -> None:
    """A block."""
    own.begin(pid)
    time.sleep(SEEN_SECONDS)
    own.settle(pid)


TWO = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


@TWO
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_of_a_process_have_cores_of_their_own_where_there_are_enough(threads: int):
    cores = sorted(os.sched_getaffinity(0))[:2]
    with at_work(threads) as pid:
        every = {thread: os.sched_getaffinity(thread) for thread in run_ns(pid)}
        worked(OwnCores(cores), pid)
        now = {thread: os.sched_getaffinity(thread) for thread in every}
        moved = [now[thread] for thread in every if now[thread] != every[thread]]
        assert sorted(map(sorted, moved)) == ([] if threads == 1 else [[core] for core in cores])


@TWO
def test_who_works_no_more_gives_its_core_back(monkeypatch: pytest.MonkeyPatch):
    cores = sorted(os.sched_getaffinity(0))[:2]
    with at_work(2) as pid:
        own = OwnCores(cores)
        worked(own, pid)
        had = list(own._placed)
        assert len(had) == 2
        monkeypatch.setattr(own_cores, "LEAST_NS", 1 << 62)
        worked(own, pid)
        assert all(os.sched_getaffinity(thread) == set(cores) for thread in had)


def test_a_process_that_is_gone_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    own = OwnCores([0, 1])
    own.begin(process.pid)
    own.settle(process.pid)
    assert run_ns(process.pid) == {}
