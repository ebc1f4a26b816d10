"""The supervisor with real processes: restarts, drain, kill, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from BackendBench.vllm_backend.fleet.local import LocalFleet, WorkerSpec
from tests.fleet.processes import alive, eventually, marked

WORKER = """
import os, signal, subprocess, sys, time, json
settings = json.loads(sys.stdin.read())
if settings.get("children"):
    # One in the same session, one that leaves it: both must go with the worker.
    nap = [sys.executable, "-c", "import time; time.sleep(1000)"]
    subprocess.Popen(nap)
    subprocess.Popen(nap, start_new_session=True)
def leave(*_):
    print("draining", flush=True)
    time.sleep(settings.get("drain", 0))
    print("drained", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("pid", os.getpid(), flush=True)
if "exit" in settings:
    print(settings["last_words"], flush=True)
    sys.exit(settings["exit"])
while True:
    time.sleep(0.01)
"""


def spec(folder: Path, settings: str = "{}", **more: object) -> WorkerSpec:
    return WorkerSpec(
        id=f"w-{folder.name}",
        role="evaluate",
        command=(sys.executable, "-c", WORKER),
        settings=settings,
        log_file=folder / "worker.log",
        environment={"TEST_MARK": str(folder)},
        **more,  # type: ignore[arg-type]
    )


def worker_pids(folder: Path) -> list[int]:
    log = folder / "worker.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith("pid ")]


async def until(condition, seconds: float = 60.0) -> None:
    assert await asyncio.to_thread(eventually, condition, seconds)


def test_a_killed_worker_comes_back_and_takes_its_children_along(tmp_path: Path) -> None:
    deaths = []

    async def on_death(spec: WorkerSpec, code: int) -> None:
        deaths.append((spec.id, code))

    async def scenario() -> None:
        fleet = LocalFleet([spec(tmp_path, '{"children": true}')], on_death)
        fleet.start()
        # Guard, worker and its two children; the worker says its pid after it has started them.
        await until(lambda: worker_pids(tmp_path) and len(marked(str(tmp_path))) == 4)
        first = marked(str(tmp_path))
        os.kill(worker_pids(tmp_path)[0], signal.SIGKILL)
        await until(lambda: len(worker_pids(tmp_path)) == 2)
        assert not [pid for pid in first if alive(pid)]
        await fleet.kill()
        assert fleet.restarts == 1

    asyncio.run(scenario())
    assert deaths == [(f"w-{tmp_path.name}", 137)]
    assert marked(str(tmp_path)) == []


def test_drain_lets_the_worker_finish(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = LocalFleet([spec(tmp_path, '{"drain": 0.3}')])
        fleet.start()
        await until(lambda: worker_pids(tmp_path))
        await fleet.drain(60)

    asyncio.run(scenario())
    assert "drained" in (tmp_path / "worker.log").read_text()
    assert marked(str(tmp_path)) == []


def test_a_drain_that_takes_too_long_ends_in_a_kill(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = LocalFleet([spec(tmp_path, '{"drain": 1000, "children": true}')])
        fleet.start()
        await until(lambda: worker_pids(tmp_path))
        await fleet.drain(0.2)

    asyncio.run(scenario())
    assert "drained" not in (tmp_path / "worker.log").read_text()
    assert marked(str(tmp_path)) == []


def test_kill_during_a_drain_is_immediate(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = LocalFleet([spec(tmp_path, '{"drain": 1000}')])
        fleet.start()
        await until(lambda: worker_pids(tmp_path))
        draining = asyncio.ensure_future(fleet.drain(1000))
        await until(lambda: "draining" in (tmp_path / "worker.log").read_text())
        await fleet.kill()
        await draining

    asyncio.run(scenario())
    assert marked(str(tmp_path)) == []


def test_kill_right_after_start_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = LocalFleet([spec(tmp_path, '{"children": true}')])
        fleet.start()
        await asyncio.sleep(0)
        await fleet.kill()

    asyncio.run(scenario())
    assert eventually(lambda: marked(str(tmp_path)) == [])


def test_a_worker_that_cannot_work_as_configured_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    settings = '{"exit": 2, "last_words": "error: no such model"}'

    async def scenario() -> str:
        fleet = LocalFleet([spec(tmp_path, settings)])
        fleet.start()
        await until(fleet.problem)
        problem = fleet.problem()
        await fleet.kill()
        return problem

    problem = asyncio.run(scenario())
    assert "no such model" in problem and "worker.log" in problem and "\n" not in problem
    assert len(worker_pids(tmp_path)) == 1


def test_cores_are_what_was_asked_for(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))

    async def scenario() -> list[int]:
        fleet = LocalFleet([spec(tmp_path, cores=(core,))])
        fleet.start()
        await until(lambda: worker_pids(tmp_path))
        found = psutil.Process(worker_pids(tmp_path)[0]).cpu_affinity()
        await fleet.kill()
        return found

    assert asyncio.run(scenario()) == [core]


def test_settings_are_in_no_command_line_and_no_environment(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = LocalFleet([spec(tmp_path, '{"secret": "s3cr3t-settings"}')])
        fleet.start()
        await until(lambda: worker_pids(tmp_path))
        processes = [psutil.Process(pid) for pid in marked(str(tmp_path))]
        assert len(processes) == 2
        for process in processes:
            assert "s3cr3t" not in " ".join(process.cmdline()) + str(process.environ())
        await fleet.kill()

    asyncio.run(scenario())


@pytest.mark.parametrize("victim", ["supervisor", "guard"])
def test_kill_9_of_supervisor_or_guard_leaves_no_worker(tmp_path: Path, victim: str) -> None:
    program = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from BackendBench.vllm_backend.fleet.local import LocalFleet
        from tests.fleet.test_local import spec
        async def scenario():
            fleet = LocalFleet([spec(Path({str(tmp_path)!r}), '{{"children": true}}')])
            fleet.start()
            await asyncio.sleep(1000)
        asyncio.run(scenario())
    """)
    root = Path(__file__).parents[2]
    supervisor = subprocess.Popen([sys.executable, "-c", program], cwd=root)
    try:
        assert eventually(lambda: len(marked(f"TEST_MARK={tmp_path}") or marked(str(tmp_path))) >= 5)
        assert eventually(lambda: worker_pids(tmp_path))
        worker = worker_pids(tmp_path)[0]
        guard = psutil.Process(worker).ppid()
        os.kill(supervisor.pid if victim == "supervisor" else guard, signal.SIGKILL)
        assert eventually(lambda: not alive(worker))
        if victim == "supervisor":
            supervisor.wait()
            assert eventually(lambda: marked(str(tmp_path)) == [])
    finally:
        supervisor.kill()
        supervisor.wait()
        assert eventually(lambda: not [p for p in marked(str(tmp_path)) if alive(p)] or victim == "guard")
        for pid in marked(str(tmp_path)):
            os.kill(pid, signal.SIGKILL)
