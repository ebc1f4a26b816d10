"""The kernel in a sample, in place and in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from BackendBench.vllm_backend.generation.analysis import Analyst, Kernel, analyse
from BackendBench.vllm_backend.generation.extraction import Unusable
from BackendBench.vllm_backend.state.source import source_hash
from tests.fleet.processes import alive, eventually
from tests.generation.chat_server import KERNEL

TEXT = KERNEL.format(number=3)


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile, or is about to be reaped
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_kernel_and_its_hash() -> None:
    found = analyse(TEXT, "relu_kernel_impl", False)
    assert isinstance(found, Kernel)
    assert found.hash == source_hash(found.code)
    assert analyse("", "relu_kernel_impl", False) is Unusable.EMPTY


@pytest.mark.parametrize("beside", [False, True])
def test_both_ways_find_the_same(beside: bool) -> None:
    async def run() -> list[Kernel | Unusable]:
        analyst = Analyst(beside)
        texts = [TEXT, "", "I would rather not.", TEXT[:60]]
        found = await asyncio.gather(
            *(analyst.analyse(t, "relu_kernel_impl", truncated=False) for t in texts)
        )
        analyst.close()
        analyst.close()
        return list(found)

    assert asyncio.run(run()) == [
        analyse(t, "relu_kernel_impl", False) for t in (TEXT, "", "I would rather not.", TEXT[:60])
    ]


def test_a_process_that_was_ended_is_started_again_and_one_that_is_not_needed_ends() -> None:
    async def run() -> None:
        analyst = Analyst(beside=True)
        first = await analyst.analyse(TEXT, "relu_kernel_impl", truncated=False)
        (before,) = children()
        os.kill(before.pid, signal.SIGKILL)
        assert await analyst.analyse(TEXT, "relu_kernel_impl", truncated=False) == first
        (after,) = [child for child in children() if child.pid != before.pid]
        os.kill(after.pid, signal.SIGTERM)
        assert await analyst.analyse(TEXT, "relu_kernel_impl", truncated=False) == first
        assert after.is_running(), "SIGTERM is the worker's to answer"
        analyst.close()

    asyncio.run(run())
    assert eventually(lambda: not children())


WORKER = """
import asyncio, time
from BackendBench.vllm_backend.generation.analysis import Analyst

if __name__ == "__main__":
    analyst = Analyst(beside=True)
    asyncio.run(analyst.analyse("", "f", truncated=False))
    print("ready", flush=True)
    time.sleep(600)
"""


def test_the_process_ends_with_a_killed_worker(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    worker = subprocess.Popen(
        [sys.executable, str(tmp_path / "worker.py")], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    helpers = [c.pid for c in psutil.Process(worker.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    worker.kill()
    worker.wait()
    worker.stdout.close()
    assert len(helpers) == 1
    assert eventually(lambda: not alive(helpers[0]))
