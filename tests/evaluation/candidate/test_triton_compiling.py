"""Compiling Triton kernels on several threads without a GPU. In a process of its own: it pretends a driver."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.candidate import triton_support
from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from BackendBench.vllm_backend.evaluation.candidate.triton_support import Compiling, _Dropped, _Pool
from BackendBench.vllm_backend.evaluation.correctness import case_plan
from BackendBench.vllm_backend.evaluation.correctness.compiling import (
    CALLS_A_THREAD,
    FIRST_NICE,
    KERNEL_SECONDS,
    LONG_SECONDS,
    LONG_THREADS,
    MOST_THREADS,
    REST_NICE,
    RIGHT_SECONDS,
    CompilingStage,
    Portion,
    State,
    portion,
)
from BackendBench.vllm_backend.evaluation.correctness.progress import Progress
from BackendBench.vllm_backend.evaluation.correctness.stage import Floor
from BackendBench.vllm_backend.evaluation.correctness.steps import Step, calls_to_compile, steps
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure
from BackendBench.vllm_backend.evaluation.resources.compiler_places import CompilerPlaces
from BackendBench.vllm_backend.evaluation.resources.device_lock import DeviceLock
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.evaluation.timing import bench
from BackendBench.vllm_backend.evaluation.trial import Examination, Trial
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.state.error_type import ErrorType

pytest.importorskip("triton")

SCRIPT = """
import json, sys
import torch, triton
from triton.runtime.driver import driver
from BackendBench.vllm_backend.evaluation.candidate import triton_support
from tests.evaluation.candidate.held_compiler import held
from tests.evaluation.candidate.triton_kernels import broken, scale, tuned
from tests.pretended_driver import PretendedDriver

driver.set_active(PretendedDriver())
made = []
triton_support._make_launcher = made.append
x, threads = torch.ones(4096), int(sys.argv[1])
found = {}
with triton_support.launches_suppressed(threads) as compiling:
    for n in (4096, 4095, 1, 4096):
        scale[(4,)](x, x, n, BLOCK=1024)
found["variants"] = len(made)
made.clear()
with triton_support.launches_suppressed(threads) as compiling, triton_support.tuning_suspended(0, every=True):
    tuned[(4,)](x, x, 4096)
found["configurations"] = len(made)
try:
    with triton_support.launches_suppressed(threads) as compiling:
        for compiling.turn, n in enumerate((4096, 4095, 1)):
            (broken if n == 4095 else scale)[(4,)](x, x, n, BLOCK=512)
except Exception as error:
    found["error"] = type(error).__name__
found["turn"] = compiling.turn
for kernel, block in ((scale, 256), (broken, 128)):
    made.clear()
    with held(after=2), triton_support.launches_suppressed(1, aside=True) as compiling:
        scale[(4,)](x, x, 4096, BLOCK=block)
        soon = compiling.done_within(0.0)
        with compiling.ahead(threads=2, nice=19):
            scale[(4,)](x, x, 4095, BLOCK=block)
            kernel[(4,)](x, x, 1, BLOCK=block)
    found["ahead_" + kernel.__name__] = [soon, len(made)]
with held(after=0), triton_support.launches_suppressed(threads, aside=True) as compiling:
    scale[(4,)](x, x, 4096, BLOCK=64)
    found["late"] = compiling.done_within(60.0)
try:
    with triton_support.launches_suppressed(threads, aside=True) as compiling:
        broken[(4,)](x, x, 4096, BLOCK=32)
        with compiling.ahead(threads=2, nice=19):
            scale[(4,)](x, x, 4095, BLOCK=32)
except Exception as error:
    found["needed"] = type(error).__name__
print(json.dumps(found))
"""


AHEAD = """
import json, socket
import torch
from triton.runtime.driver import driver
from BackendBench.vllm_backend.evaluation.candidate import triton_support
from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from BackendBench.vllm_backend.evaluation.memory import shared_calls
from BackendBench.vllm_backend.operations.operation import Call
from tests.evaluation.candidate.held_compiler import held
from tests.evaluation.candidate.triton_kernels import broken, scale
from tests.pretended_driver import PretendedDriver

driver.set_active(PretendedDriver())
made = []
triton_support._make_launcher = made.append
harness = Harness(socket.socketpair()[0])

def function(x, block):
    if block == 2048:
        raise ValueError("a wrapper that does not like it")
    (broken if block % 3 == 0 else scale)[(4,)](x, x, x.numel(), BLOCK=block)

harness._function = function

def ask(blocks, needed, patience, after):
    calls = [(Call((torch.ones(64), block)), [torch.ones(64)]) for block in blocks]
    made.clear()
    with held(after):
        reply = harness._dry_run({
            "calls": shared_calls.lay_out(calls).request(), "turns": [0] * len(blocks), "needed": needed,
            "threads": 1, "nice": 0, "patience": patience, "ahead": {"threads": 2, "nice": 0}, "gpu": None,
        }, [])
    return reply.get("failure", {}).get("type"), reply.get("failed_at"), len(made)

print(json.dumps([
    ask([16, 32], 1, 0.0, after=1),
    ask([64, 48], 1, 0.0, after=1),
    ask([128, 256], 1, 60.0, after=0),
    ask([8, 2048, 4], 1, 0.0, after=0),
    ask([512, 96, 1024], 2, 0.0, after=1),
]))
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_every_variant_is_compiled_once_and_the_failing_call_is_known(threads):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, threads], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found == {
        "variants": 3, "configurations": 2, "error": "CompilationError", "turn": 1,
        "ahead_scale": [False, 3],
        "ahead_broken": [False, 2],  # what is ready nevertheless has its launcher
        "late": True, "needed": "CompilationError",
    }  # fmt: skip


class Near:
    """A session whose process is this one."""

    rested = own_time = 0.0

    def __init__(self, function: Callable[..., Any]) -> None:
        self.stage, self.case_names = "", ()
        self.harness = Harness(socket.socketpair()[0])
        self.harness._function = function
        self.asked: list[str] = []
        self.requests: list[int] = []
        """Calls that each needed."""

    async def request(self, do: str, timeout: float, **payload: Any) -> dict[str, Any]:
        """What a process would answer."""
        self.asked += self.case_names[: payload["needed"]]
        self.requests.append(payload["needed"])
        reply = self.harness._handlers[do](payload, [])
        assert "failure" not in reply, reply
        return reply


class Dry:
    """relu's cases and a workload, to be compiled in two steps: the first chunk, and all the rest."""

    def __init__(self, spent: float = 0.0, passed: int = 0) -> None:
        """``spent``: seconds of compiling so far; ``passed``: cases."""
        self.seen: list[tuple[int, ...]] = []
        device, self.settings = torch.device("cpu"), JudgeSettings()
        operation = catalog.resolve("relu")
        self.chunks = case_plan.prepare(operation, device, 1).chunks
        self.workload = next(iter(operation.make_workloads(device)))
        made = bench.prepare(operation, self.workload, device, 1, 1000.0)
        assert made is not None
        self.benches = [made]
        self.near = Near(lambda x: self.seen.append(tuple(x.shape)))
        self.floor = Floor(DeviceLock(), CompilerPlaces(4), "cuda")
        self.stage = CompilingStage(self.settings.compile_seconds, self.floor.compiling)
        self.left = Progress(0.0, self.settings.compile_seconds - spent, passed=passed)
        self.left.calls = list(
            calls_to_compile([Step(self.chunks[:1]), Step(self.chunks[1:], [made])], self.left.turn)
        )

    def compile(self, step: int) -> None:
        unused: Any = None
        session: Any = self.near
        one = Examination(session, unused, unused, unused, Trial(), "")
        asyncio.run(self.stage.compile(one, step, self.left))


def test_the_stage_and_the_process_agree_on_a_dry_run_of_every_case_and_workload():
    dry = Dry()
    dry.compile(0)
    first = [case.name for case in dry.chunks[0].cases]
    assert dry.near.asked == first
    dry.compile(1)
    rest = [case.name for chunk in dry.chunks[1:] for case in chunk.cases]
    assert dry.left.compiled
    assert dry.near.asked == [*first, dry.workload.name, *rest]
    assert len(dry.seen) == len(dry.near.asked)
    assert dry.floor.compilers.free == dry.floor.compilers.count


def test_whoever_compiles_steps_back_and_only_while_he_does():
    dry = Dry()
    places: list[int] = []
    dry.near.harness._function = lambda x: places.append(os.getpriority(os.PRIO_PROCESS, 0))
    before = os.getpriority(os.PRIO_PROCESS, 0)
    dry.compile(0)
    assert set(places) == {max(before, FIRST_NICE)}
    places.clear()
    dry.left.passed = len(dry.chunks[0].cases)
    dry.compile(1)
    assert set(places) == {max(before, REST_NICE)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.mark.parametrize("passed", [0, 1])
def test_who_compiles_for_long_has_all_that_is_left_compiled_at_once_when_it_was_right_so_far(passed: int):
    dry = Dry(spent=RIGHT_SECONDS + 1, passed=passed)
    needed, everything = len(dry.chunks[0].cases), len(dry.left.calls)
    dry.compile(0)
    assert dry.near.requests == [everything if passed else needed]
    dry.compile(1)
    assert len(dry.near.asked) == everything


def requests_of(dry: Dry, **also_said: Any) -> list[dict[str, Any]]:
    """What the process will be asked, each time; ``also_said``: in its replies."""
    asked: list[dict[str, Any]] = []
    request = dry.near.request

    async def noted(do: str, timeout: float, **payload: Any) -> dict[str, Any]:
        asked.append(payload)
        return {**await request(do, timeout, **payload), **also_said}

    dry.near.request = noted  # type: ignore[method-assign]
    return asked


def test_what_is_compiled_ahead_goes_with_the_first_cases():
    dry = Dry()
    asked = requests_of(dry)
    dry.compile(0)
    assert asked and all(one["ahead"] == {"threads": MOST_THREADS, "nice": FIRST_NICE} for one in asked)


@pytest.mark.parametrize("slow", [False, True])
def test_who_is_slow_keeps_his_place_when_he_is_right(slow: bool):
    dry = Dry()
    asked = requests_of(dry, **({"slow": True} if slow else {}))
    dry.compile(0)
    assert dry.left.slow is slow
    asked.clear()
    dry.left.passed = 1
    dry.compile(1)
    assert {one["nice"] for one in asked} == {FIRST_NICE if slow else REST_NICE}


def test_what_is_left_is_compiled_ahead_only_until_the_first_cases_are_right_and_on_several_threads():
    calls: Any = range(20)
    idle = State(threads=3, several=True, first=True, right=False, spent=0.1)
    assert portion(calls, 9, idle) == Portion(calls, 3, KERNEL_SECONDS, 3)
    later = dataclasses.replace(idle, threads=2, first=False)
    assert portion(calls, 9, later).needed == 2 * CALLS_A_THREAD
    long = dataclasses.replace(later, spent=RIGHT_SECONDS + 1)
    assert portion(calls, 9, long) == Portion(calls, 9, KERNEL_SECONDS, LONG_THREADS)
    slow = dataclasses.replace(long, slow=True)
    assert portion(calls, 9, slow) == Portion(calls, 9, 0.0, LONG_THREADS)
    right = dataclasses.replace(long, right=True)
    assert portion(calls, 9, right) == Portion(calls, 20, KERNEL_SECONDS, MOST_THREADS)
    not_slow = dataclasses.replace(right, spent=LONG_SECONDS + 0.1)
    assert portion(calls, 9, not_slow) == Portion(calls[:9], 9, KERNEL_SECONDS, MOST_THREADS)
    assert portion(calls, 9, dataclasses.replace(right, spent=0.0)).calls == calls[:8]
    one = dataclasses.replace(long, several=False, threads=1)
    assert portion(calls, 9, one) == Portion(calls[:9], 9, KERNEL_SECONDS, 1)
    assert portion(calls, 9, long).alone() == Portion(calls[:9], 9, 0.0, 1)


def test_a_call_that_fails_ahead_of_need_is_left_for_when_it_is_needed():
    """The harness alone, in a process that pretends a driver."""
    done = subprocess.run(
        [sys.executable, "-c", AHEAD], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == [
        [None, None, 2],
        [None, None, 1],  # the second does not compile
        [None, None, 1],  # the first did not take long
        [None, None, 1],  # the second's wrapper fails
        ["CompilationError", 1, 1],
    ]  # fmt: skip


class Kernel:
    """One that is being compiled, as Triton hands it out."""

    def __init__(self, future: Future[Any] | None = None) -> None:
        self.future: Future[Any] | None = future or Future()

    def result(self) -> object:
        """Waits for it."""
        assert self.future is not None
        return self.future.result()


def test_what_the_longest_kernel_takes_is_counted_while_it_is_compiled_and_afterwards(
    monkeypatch: pytest.MonkeyPatch,
):
    own = threading.local()

    def compute(seconds: float) -> None:
        own.time = getattr(own, "time", 0.0) + seconds

    monkeypatch.setattr(time, "thread_time", lambda: getattr(own, "time", 0.0))
    monkeypatch.setattr(triton_support, "_thread_time", lambda thread: 5.0)  # of who compiles now
    with _Pool(1) as pool:
        assert pool.longest() == 0.0
        pool.submit(compute, 2.0).result()
        pool.submit(compute, 1.0).result()
        assert pool.longest() == 2.0  # of one kernel, not of all
        pool.grow(1, 0)
        assert pool.submit(pool.longest).result() == 5.0
        pool.submit(compute, 3.0).result()
        assert pool.longest() == 3.0


def test_a_threads_time_is_its_own():
    looked = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        thread = threads.submit(threading.get_ident).result()
        waiting = threads.submit(looked.wait, 60.0)
        try:
            assert 0.0 < triton_support._thread_time(thread) < time.process_time()
        finally:
            looked.set()
        assert waiting.result()


@pytest.mark.parametrize(("longest", "within"), [(0.9, True), (1.1, False)])
def test_it_takes_long_where_one_kernel_does(longest: float, within: bool, monkeypatch: pytest.MonkeyPatch):
    future: Future[Any] = Future()

    class Pool(_Pool):
        def longest(self) -> float:
            """And all is done at the next look."""
            future.set_result(None)
            return longest

    monkeypatch.setattr(triton_support, "LOOK_SECONDS", 0.0)
    with Pool(1) as pool:
        compiling = Compiling(pool)
        compiling.ask(Kernel(future))
        assert compiling.done_within(1.0) is within


def test_it_is_waited_for_what_is_compiled_until_something_fails(monkeypatch: pytest.MonkeyPatch):
    first, second, looked_at = Kernel(), Kernel(), Kernel()
    looked_at.future = None  # Triton's, once somebody has waited for it
    monkeypatch.setattr(triton_support, "LOOK_SECONDS", 0.0)
    with _Pool(1) as pool:
        monkeypatch.setattr(pool, "longest", lambda: 1.0)
        waits_until_something_fails(Compiling(pool), first, second, looked_at)


def waits_until_something_fails(
    compiling: Compiling, first: Kernel, second: Kernel, looked_at: Kernel
) -> None:
    for kernel in (first, second, looked_at):
        compiling.ask(kernel)
    assert not compiling.done_within(0.0)
    assert first.future is not None and second.future is not None
    first.future.set_result(None)
    assert not compiling.done_within(0.0)
    second.future.set_exception(ValueError())
    assert compiling.done_within(60.0)
    third = Kernel()
    compiling.ask(third)
    assert compiling.done_within(60.0)


class Refusing(Near):
    """Fails so many times, each after a second."""

    def __init__(self, times: int, error: ErrorType) -> None:
        super().__init__(lambda x: None)
        self.times, self.error = times, error
        self.threads: list[int] = []
        self.limits: list[float] = []

    async def request(self, do: str, timeout: float, **payload: Any) -> dict[str, Any]:
        self.threads.append(payload["threads"])
        self.limits.append(timeout)
        if len(self.threads) <= self.times:
            self.own_time += 1.0
            raise CandidateFailed(Failure(self.error, "no"))
        return await super().request(do, timeout, **payload)


def test_who_fails_on_several_threads_is_compiled_on_one_from_then_on():
    dry = Dry(spent=LONG_SECONDS + 0.1)
    refusing = dry.near = Refusing(1, ErrorType.RUNTIME_ERROR)
    dry.compile(0)
    assert dry.left.compiled
    assert refusing.threads == [LONG_THREADS, 1]
    assert refusing.limits[1] == pytest.approx(refusing.limits[0] - 1.0)
    assert refusing.asked == [case.name for case in dry.chunks[0].cases]


def test_who_fails_on_one_thread_as_well_is_left_to_when_he_runs():
    dry = Dry(spent=LONG_SECONDS + 0.1)
    refusing = dry.near = Refusing(2, ErrorType.RUNTIME_ERROR)
    dry.compile(0)
    assert not dry.left.compiled
    assert refusing.threads == [LONG_THREADS, 1]


def test_what_the_compiler_says_is_believed_at_once():
    dry = Dry(spent=LONG_SECONDS + 0.1)
    refusing = dry.near = Refusing(1, ErrorType.COMPILE_ERROR)
    with pytest.raises(CandidateFailed):
        dry.compile(0)
    assert refusing.threads == [LONG_THREADS]


def test_what_was_asked_for_ahead_goes_on_where_as_much_is_done_as_has_not_begun():
    going_on, pool = threading.Event(), _Pool(1)
    pool.submit(lambda: "needed").result()
    pool.grow(1, 19)
    assert pool.mostly_done(kept=1)  # nothing was asked for
    first = pool.submit(lambda: "compiled")
    first.result()
    has_begun = threading.Event()

    def hold() -> bool:
        has_begun.set()
        return going_on.wait(60.0)

    begun = pool.submit(hold)
    pool.submit(lambda: "compiled")
    assert has_begun.wait(60.0)
    assert pool.mostly_done(kept=1)
    pool.submit(lambda: "compiled")
    assert not pool.mostly_done(kept=1)
    assert pool.mostly_done(kept=0)  # with what is needed
    going_on.set()
    assert begun.result() is True
    pool.shutdown()


@pytest.mark.parametrize(("waiting", "goes_on"), [(1, True), (2, False)])
def test_who_is_done_with_what_is_needed_has_the_rest_compiled_where_as_much_of_it_is(
    waiting: int, goes_on: bool
):
    done, begun, going_on, pool = threading.Event(), threading.Event(), threading.Event(), _Pool(1)
    finished: list[int] = []

    class Watched(Compiling):
        def _finish(self, asked: Any) -> None:
            finished.append(len(asked))
            if len(finished) == 2:  # it has been decided
                going_on.set()
            super()._finish(asked)

    compiling = Watched(pool)

    def hold() -> None:
        begun.set()
        going_on.wait(60.0)

    def ask(compile_one: Callable[[], object]) -> Future[object]:
        future = pool.submit(compile_one)
        compiling.ask(Kernel(future))
        return future

    ask(lambda: done.wait(60.0))
    with compiling.ahead(threads=1, nice=19):
        ask(lambda: None).result()
        ask(hold)
        assert begun.wait(60.0)
        others = [ask(lambda: None) for _ in range(waiting)]
    done.set()
    compiling.finish()
    pool.shutdown()
    assert [other.exception() is None for other in others] == [goes_on] * waiting


def test_what_was_begun_ahead_is_left_when_what_is_needed_is_done():
    going_on, pool = threading.Event(), _Pool(1)
    pool.grow(1, 19)
    begun, waiting = pool.submit(going_on.wait, 60.0), pool.submit(lambda: "compiled")
    pool.drop(kept=1)
    going_on.set()
    assert begun.result() is True
    with pytest.raises(_Dropped):
        waiting.result()
    pool.shutdown()


def test_the_workloads_are_compiled_when_every_case_is_right():
    dry = Dry()
    plan = case_plan.prepare(catalog.resolve("relu"), torch.device("cpu"), 1)
    first, *_, cases, workloads = steps(plan.chunks, dry.benches, confirming=False)
    assert first.chunks == plan.chunks[:1]
    assert cases.enduring and cases.chunks and not cases.benches
    assert workloads.benches == dry.benches and not workloads.chunks
    assert steps(plan.chunks, dry.benches, confirming=True)[-1].benches == dry.benches
