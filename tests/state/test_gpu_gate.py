"""Turns on a shared GPU between real processes, one of which is killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from BackendBench.vllm_backend.state import gpu_gate
from BackendBench.vllm_backend.state.gpu_gate import (
    LEAST_TURN_SECONDS,
    EngineGate,
    GateError,
    JudgeGate,
    next_move,
)

JUDGE = """
import asyncio, sys
from pathlib import Path
from BackendBench.vllm_backend.state.gpu_gate import JudgeGate

async def main():
    async with JudgeGate("GPU-1", Path(sys.argv[1])).exclusive():
        print("timing", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def engine(folder: Path, *gpus: str) -> EngineGate:
    return EngineGate(gpus or ("GPU-1",), folder)


async def timed(gate: JudgeGate, log: list[str], name: str, until: asyncio.Event) -> None:
    async with gate.exclusive():
        log.append(f"{name} begins")
        await until.wait()
        log.append(f"{name} ends")


def test_the_law_for_every_situation() -> None:
    moves = {
        (holding, wished, busy, long): next_move(
            holding=holding, wished=wished, busy=busy, held_seconds=LEAST_TURN_SECONDS * (2 if long else 0.5)
        )
        for holding, wished, busy, long in itertools.product((False, True), repeat=4)
    }
    for (holding, wished, busy, long), move in moves.items():
        if not holding:
            assert move == ("wait" if wished else "take")
        elif not wished:
            assert move == "keep", "nobody wants it"
        else:
            assert move == ("keep" if busy and not long else "yield")


def test_a_judge_waits_until_the_engine_gives_its_turn_and_the_engine_until_the_judge_is_done(
    tmp_path: Path,
) -> None:
    async def both() -> None:
        gate, log, done = engine(tmp_path), [], asyncio.Event()
        assert gate.try_take() and not gate.wished()
        judge = asyncio.ensure_future(timed(JudgeGate("GPU-1", tmp_path), log, "timing", done))
        while not gate.wished():
            await asyncio.sleep(0.001)
        assert log == [], "the engine has not given its turn"
        gate.give()
        while not log:
            await asyncio.sleep(0.001)
        assert not gate.try_take(), "the judge times"
        assert gate.wished()
        done.set()
        await judge
        assert gate.try_take() and gate.holding

    asyncio.run(both())


def test_two_judges_never_time_at_once(tmp_path: Path) -> None:
    async def both() -> list[str]:
        log: list[str] = []
        done = asyncio.Event()
        done.set()
        await asyncio.gather(*(timed(JudgeGate("GPU-1", tmp_path), log, str(i), done) for i in range(8)))
        return log

    log = asyncio.run(both())
    for begins, ends in zip(log[::2], log[1::2], strict=True):
        assert begins.split()[0] == ends.split()[0], "no other timing in between"


def test_an_engine_has_no_turn_between_timings_in_a_row(tmp_path: Path) -> None:
    async def row() -> None:
        gate, judge = engine(tmp_path), JudgeGate("GPU-1", tmp_path)
        for number in range(3):
            async with judge.exclusive(follows=lambda last=number == 2: not last):
                assert not gate.try_take()
            if number < 2:
                assert gate.wished() and not gate.try_take(), "the next timing is about to come"
        assert gate.try_take()

    asyncio.run(row())


def test_a_timing_that_was_about_to_come_and_does_not_keeps_no_engine_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_gate, "KEPT_SECONDS", 0.05)

    async def waited() -> None:
        gate, judge = engine(tmp_path), JudgeGate("GPU-1", tmp_path)
        with contextlib.suppress(ValueError):
            async with judge.exclusive(follows=lambda: True):
                raise ValueError
        while not gate.try_take():
            await asyncio.sleep(0.001)
        gate.give()
        async with judge.exclusive():
            assert not gate.try_take()
        assert gate.try_take()

    asyncio.run(waited())


def test_engines_work_side_by_side(tmp_path: Path) -> None:
    assert engine(tmp_path).try_take()
    assert engine(tmp_path).try_take()


def test_an_engine_over_several_gpus_yields_to_the_judge_of_any(tmp_path: Path) -> None:
    async def both() -> None:
        gate = engine(tmp_path, "GPU-1", "GPU-2")
        async with JudgeGate("GPU-2", tmp_path).exclusive():
            assert gate.wished() and not gate.try_take()
        async with JudgeGate("GPU-3", tmp_path).exclusive():
            assert gate.try_take()

    asyncio.run(both())


def test_a_cancelled_wait_leaves_nothing_locked(tmp_path: Path) -> None:
    async def run() -> None:
        gate = engine(tmp_path)
        gate.try_take()
        judge = asyncio.ensure_future(timed(JudgeGate("GPU-1", tmp_path), [], "timing", asyncio.Event()))
        while not gate.wished():
            await asyncio.sleep(0.001)
        judge.cancel()
        await asyncio.wait([judge])
        assert not gate.wished()

    asyncio.run(run())


def test_a_killed_judge_gives_the_gpu_back(tmp_path: Path) -> None:
    judge = subprocess.Popen([sys.executable, "-c", JUDGE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert judge.stdout is not None
    assert judge.stdout.readline() == "timing\n"
    gate = engine(tmp_path)
    assert not gate.try_take()
    judge.send_signal(signal.SIGKILL)
    judge.wait()
    judge.stdout.close()
    assert gate.try_take()


def test_a_gpu_that_is_not_shared_is_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with JudgeGate("", tmp_path).exclusive():
            assert EngineGate((), tmp_path).try_take()

    asyncio.run(run())
    assert not EngineGate((), tmp_path).shared
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match=r"belongs to somebody else|no folder"):
        engine(tmp_path / "file").try_take()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(GateError, match="belongs to somebody else"):
        engine(tmp_path / "link").try_take()
