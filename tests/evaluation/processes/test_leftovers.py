"""What a waiting process still does, seen from outside: real processes."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from BackendBench.vllm_backend.evaluation.failure import CandidateFailed
from BackendBench.vllm_backend.evaluation.processes import leftovers
from BackendBench.vllm_backend.state.error_type import ErrorType

WAIT = "print(flush=True); input()"


@contextmanager
def process(code: str) -> Iterator[int]:
    """A Python process that has run ``code`` and waits."""
    running = subprocess.Popen(
        [sys.executable, "-c", f"{code}\n{WAIT}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    running.stdout.readline()
    try:
        yield running.pid
    finally:
        running.kill()
        running.wait()


def refused(pid: int) -> ErrorType | None:
    try:
        asyncio.run(leftovers.refuse(pid))
    except CandidateFailed as error:
        return error.failure.error_type
    return None


def test_a_process_that_waits_is_left_alone() -> None:
    with process(
        "import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    ) as pid:
        assert refused(pid) is None


def test_a_thread_that_works_on_is_found() -> None:
    code = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()"
    with process(code) as pid:
        assert leftovers.working(pid)
        assert refused(pid) is ErrorType.LEFTOVER_WORK


def test_a_child_is_found_and_a_dead_one_is_not_counted() -> None:
    with process("import subprocess; child = subprocess.Popen(['sleep', '99'])") as pid:
        (child,) = leftovers.processes(pid)
        assert refused(pid) is ErrorType.LEFTOVER_WORK
        subprocess.run(["kill", "-9", str(child)], check=True)
        deadline = time.monotonic() + 30
        while leftovers.processes(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert leftovers.processes(pid) == []
        assert refused(pid) is None


def test_a_process_that_is_gone_is_somebody_elses_finding() -> None:
    with process("") as pid:
        assert (leftovers.cpu_ns(pid) or 0) > 0
    assert leftovers.cpu_ns(pid) is None
    assert refused(pid) is None


@pytest.mark.parametrize(("threads", "fails"), [(0, False), (3, True), ("x", False), (None, False)])
def test_what_the_harness_reports(threads: object, fails: bool) -> None:
    if fails:
        with pytest.raises(CandidateFailed):
            leftovers.refuse_reported({"threads": threads})
    else:
        leftovers.refuse_reported({"threads": threads})
