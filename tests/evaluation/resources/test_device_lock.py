"""Who uses the device when: many that share it, or one alone, and nobody starves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.resources.device_lock import MOST_GENERATIONS, DeviceLock

FOREVER = 3600.0
"""Seconds: nobody's patience ends within a test unless it is about that."""
TURNS = 12
"""Rounds of the event loop after which everybody who can go on has gone on."""


async def settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Scene:
    """Somebody for each name, who enters when the lock lets him and leaves when he is told to."""

    def __init__(self, batch: int = 1) -> None:
        self.lock = DeviceLock(batch, FOREVER, FOREVER)
        self.inside: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def arrive(self, name: str) -> None:
        """A name that begins with ``x`` wants the device alone, to be timed; with ``y``, for something else."""
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.ensure_future(self._use(name))
        await settle()

    async def _use(self, name: str) -> None:
        alone = name[0] in "xy"
        async with self.lock.exclusive(timed=name[0] == "x") if alone else self.lock.shared():
            self.inside.append(name)
            try:
                await self._leave[name].wait()
            finally:
                self.inside.remove(name)

    async def leave(self, name: str) -> None:
        self._leave[name].set()
        await settle()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await settle()


def play(scene: Callable[[Scene], Awaitable[Any]], batch: int = 1, **seconds: float) -> None:
    async def run() -> None:
        made = Scene(batch)
        if seconds:
            made.lock = DeviceLock(batch, **{"patience": FOREVER, "long": FOREVER} | seconds)
        try:
            await scene(made)
        finally:
            for task in made.tasks.values():
                task.cancel()
            await asyncio.gather(*made.tasks.values(), return_exceptions=True)

    asyncio.run(run())


def test_many_share_and_one_is_alone():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("b")
        assert s.inside == ["a", "b"]
        await s.arrive("x")
        assert s.inside == ["a", "b"]
        await s.leave("a")
        assert s.inside == ["b"]
        await s.leave("b")
        assert s.inside == ["x"]
        await s.arrive("x2")
        await s.arrive("c")
        assert s.inside == ["x"]

    play(scene)


def test_who_waits_for_a_timing_goes_before_newcomers():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("x")
        await s.arrive("b")
        await s.arrive("c")
        assert s.inside == ["a"]
        await s.leave("a")
        assert s.inside == ["x"]
        await s.leave("x")
        assert sorted(s.inside) == ["b", "c"]

    play(scene)


def test_who_waited_for_one_timing_goes_before_the_next():
    async def scene(s: Scene) -> None:
        await s.arrive("x1")
        await s.arrive("x2")
        await s.arrive("a")
        await s.arrive("b")
        await s.leave("x1")
        assert sorted(s.inside) == ["a", "b"]
        await s.arrive("c")
        await s.leave("a")
        await s.leave("b")
        assert s.inside == ["x2"]
        await s.leave("x2")
        assert s.inside == ["c"]

    play(scene)


def test_timings_go_in_batches_and_then_everybody_who_waits():
    async def scene(s: Scene) -> None:
        for name in ("x1", "x2", "x3"):
            await s.arrive(name)
        await s.arrive("a")
        assert s.lock.another_follows()
        await s.leave("x1")
        assert s.inside == ["x2"]
        assert not s.lock.another_follows(), "those who wait to share do"
        await s.arrive("b")
        await s.leave("x2")
        assert sorted(s.inside) == ["a", "b"]
        await s.arrive("x4")
        await s.arrive("c")
        assert sorted(s.inside) == ["a", "b"]
        await s.leave("a")
        await s.leave("b")
        assert s.inside == ["x3"]
        assert s.lock.another_follows()
        await s.leave("x3")
        assert s.inside == ["x4"]
        assert not s.lock.another_follows()
        await s.leave("x4")
        assert s.inside == ["c"]

    play(scene, batch=2)


def test_another_timing_follows_only_where_nobody_wants_the_device_for_something_else():
    async def scene(s: Scene) -> None:
        for name in ("x1", "x2", "y1"):
            await s.arrive(name)
        assert s.inside == ["x1"]
        assert not s.lock.another_follows()
        await s.cancel("y1")
        assert s.lock.another_follows()
        await s.cancel("x2")
        assert not s.lock.another_follows()

    play(scene, batch=4)


def test_newcomers_share_until_a_batch_is_ready():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("x1")
        await s.arrive("b")
        assert s.inside == ["a", "b"]
        await s.arrive("x2")
        await s.arrive("c")
        assert s.inside == ["a", "b"]
        await s.leave("a")
        await s.leave("b")
        assert s.inside == ["x1"]

    play(scene, batch=2)


def test_a_timing_that_has_waited_long_waits_for_no_batch():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("x1")
        while not s.lock.timings_turn:
            await asyncio.sleep(0.01)
        await s.arrive("b")
        assert s.inside == ["a"]
        await s.leave("a")
        assert s.inside == ["x1"]
        await s.leave("x1")
        assert s.inside == ["b"]

    play(scene, batch=4, patience=0.05)


def test_newcomers_go_in_while_somebody_keeps_the_timings_waiting_but_not_for_ever():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("x")
        there = "a"
        for number in range(MOST_GENERATIONS):
            name = f"newcomer {number}"
            await s.arrive(name)
            assert s.inside == [there]
            while name not in s.inside:
                await asyncio.sleep(0.01)
            await s.leave(there)
            there = name
        await asyncio.sleep(0.1)  # this one, too, is there for as long as the others were by now
        await s.arrive("one too many")
        assert s.inside == [there]
        await s.leave(there)
        assert s.inside == ["x"]

    play(scene, long=0.05)


def test_a_batch_that_is_not_full_waits_for_nobody():
    async def scene(s: Scene) -> None:
        await s.arrive("x1")
        await s.arrive("a")
        await s.leave("x1")
        assert s.inside == ["a"]

    play(scene, batch=4)


def test_a_timing_that_gives_up_waiting_lets_the_others_in():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("x")
        await s.arrive("b")
        await s.cancel("x")
        assert s.inside == ["a", "b"]

    play(scene)


class Waiting:
    """Somebody who shares the device, waits for an answer and wants to be the only one."""

    def __init__(self, lock: DeviceLock) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done = asyncio.Event()
        self.alone: bool | None = None
        self.task = asyncio.ensure_future(self._wait(lock))

    async def _wait(self, lock: DeviceLock) -> None:
        async with lock.sole(self.answer) as self.alone:
            await self.done.wait()


def test_who_wants_to_be_the_only_one_keeps_newcomers_out_until_the_others_have_left():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("b")
        only = Waiting(s.lock)  # for a
        await settle()
        await s.arrive("c")
        await s.arrive("x")
        assert (only.alone, s.inside) == (None, ["a", "b"])
        await s.leave("b")
        assert (only.alone, s.inside) == (True, ["a"])
        only.done.set()
        await only.task
        await settle()
        assert s.inside == ["a", "c"]

    play(scene, batch=2)


def test_who_has_his_answer_leaves_and_the_other_is_the_only_one():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("b")
        hangs, slow = Waiting(s.lock), Waiting(s.lock)
        await settle()
        assert (hangs.alone, slow.alone) == (None, None)
        slow.answer.set_result(None)
        slow.done.set()
        await slow.task
        assert slow.alone is False
        await s.leave("b")
        assert hangs.alone is True
        hangs.done.set()
        await hangs.task

    play(scene)


def test_of_two_who_wait_for_what_never_comes_none_is_the_only_one():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.arrive("b")
        both = [Waiting(s.lock), Waiting(s.lock)]
        for one in both:
            one.done.set()
            await one.task
        assert [one.alone for one in both] == [False, False]
        await settle()
        await s.arrive("c")
        assert s.inside == ["a", "b", "c"]

    play(scene, sole=0.05)


@pytest.mark.parametrize("inside", [False, True])
def test_who_gives_up_wanting_it_lets_newcomers_in(inside):
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        if not inside:
            await s.arrive("b")
        only = Waiting(s.lock)
        await settle()
        assert only.alone is (True if inside else None)
        async with s.lock._condition:  # twice, and while somebody else has the lock's own lock
            only.task.cancel()
            await asyncio.sleep(0)
            only.task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(only.task, return_exceptions=True)
        await settle()
        await s.arrive("c")
        assert "c" in s.inside

    play(scene)


class Mortal:
    """A process that is gone when it is told so."""

    stoppable = False

    def __init__(self) -> None:
        self.killed = False
        self.end = asyncio.Event()

    def kill(self) -> None:
        self.killed = True

    async def gone(self) -> bool:
        return await self.end.wait()

    def stop(self) -> None:
        """Not this one."""

    def go_on(self) -> None:
        """Nor this."""


@pytest.mark.parametrize("exclusively", [False, True])
def test_whose_process_fails_inside_is_ended_and_nobody_is_alone_before_it_is_gone(exclusively):
    async def scene(s: Scene) -> None:
        process = Mortal()
        use = s.lock.exclusive_by if exclusively else s.lock.shared_by
        with pytest.raises(ZeroDivisionError):
            async with use(process):
                raise ZeroDivisionError
        assert process.killed
        async with s.lock.exclusive():
            alone = asyncio.ensure_future(s.lock.alone())
            await settle()
            assert not alone.done()
            process.end.set()
            await settle()
            assert alone.done()

    play(scene)


@pytest.mark.parametrize("name", ["x", "a"])
def test_who_fails_inside_leaves_the_lock_free(name):
    async def scene(s: Scene) -> None:
        await s.arrive(name)
        await s.cancel(name)
        await s.arrive("x2")
        assert s.inside == ["x2"]

    play(scene)


def test_a_sharer_that_gives_up_waiting_is_not_counted():
    async def scene(s: Scene) -> None:
        await s.arrive("x")
        await s.arrive("a")
        await s.cancel("a")
        await s.leave("x")
        await s.arrive("x2")
        assert s.inside == ["x2"]

    play(scene)


def test_only_exclusive_use_is_counted():
    async def scene(s: Scene) -> None:
        await s.arrive("a")
        await s.leave("a")
        assert s.lock.exclusive_seconds == 0.0
        await s.arrive("x")
        await s.leave("x")
        assert s.lock.exclusive_seconds > 0.0

    play(scene)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["come", "leave", "cancel"])), max_size=40),
    st.integers(1, 3),
    st.sampled_from([0.0, FOREVER]),
)
def test_in_any_order_one_is_alone_or_many_share_and_in_the_end_everybody_was_in(steps, batch, seconds):
    async def scene(s: Scene) -> None:
        for number, what in steps:
            name = f"x{number}" if number < 3 else f"s{number}"
            if what == "come" and (name not in s.tasks or s.tasks[name].done()):
                await s.arrive(name)
            elif what == "leave" and name in s.inside:
                await s.leave(name)
            elif what == "cancel" and name in s.tasks:
                await s.cancel(name)
            alone = [n for n in s.inside if n.startswith("x")]
            assert not alone or len(s.inside) == 1
        while s.inside:
            await s.leave(s.inside[0])
        assert all(task.done() for task in s.tasks.values())

    play(scene, batch, patience=seconds, long=seconds)


def test_beside_what_is_left_behind_others_share_or_have_it_and_are_alone_when_it_is_gone():
    async def scene(made: Scene) -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await made.arrive("x1")
        made.lock.leave_until(gone)
        await made.arrive("s1")
        await made.leave("x1")
        assert made.inside == ["s1"]
        await made.leave("s1")
        await made.arrive("x2")
        assert made.inside == ["x2"]
        alone = asyncio.ensure_future(made.lock.alone())
        await settle()
        assert not alone.done()
        gone.set_result(None)
        await settle()
        assert alone.done()

    play(scene)


class Stopped:
    """A process that shares the device, and whether it was stopped."""

    def __init__(self, stoppable: bool) -> None:
        self.stoppable = stoppable
        self.stopped = False

    def kill(self) -> None:
        """Nothing to end."""

    async def gone(self) -> bool:
        return True

    def stop(self) -> None:
        assert self.stoppable and not self.stopped
        self.stopped = True

    def go_on(self) -> None:
        assert self.stopped
        self.stopped = False


def beside_slow_ones(*processes: Stopped, **lock: Any) -> DeviceLock:
    """A lock that stops who shares the device from the first moment on, as these do."""
    made = DeviceLock(1, **{"patience": 0.0, "long": 0.0, "stopping": True} | lock)

    async def share(process: Stopped) -> None:
        async with made.shared_by(process):
            await asyncio.Event().wait()

    for process in processes:
        made._keep(asyncio.ensure_future(share(process)))
    return made


async def enters(lock: DeviceLock, while_inside: Callable[[], None], seconds: float = 10.0) -> bool:
    """Whether somebody who wants the device alone has it by then."""

    async def use() -> None:
        async with lock.exclusive(timed=True):
            while_inside()
            await settle()
            while_inside()

    done, _ = await asyncio.wait({asyncio.ensure_future(use())}, timeout=seconds)
    for task in done:
        await task
    return bool(done)


def test_who_is_slow_is_stopped_while_another_one_is_alone():
    async def scene() -> None:
        slow = [Stopped(True), Stopped(True)]
        lock = beside_slow_ones(*slow)
        for _ in range(2):

            def all_stopped() -> None:
                assert all(process.stopped for process in slow)

            assert await enters(lock, all_stopped)
            assert not any(process.stopped for process in slow)

    asyncio.run(scene())


def test_nobody_is_stopped_for_whom_the_judge_works():
    async def scene() -> None:
        slow = [Stopped(True), Stopped(False)]
        lock = beside_slow_ones(*slow)
        assert not await enters(lock, lambda: None, 0.2)
        assert not slow[0].stopped
        slow[1].stoppable = True  # nothing tells the lock
        assert await enters(lock, lambda: None)

    asyncio.run(scene())


@pytest.mark.parametrize("other", [{"stopping": False}, {"long": FOREVER}])
def test_who_has_just_come_or_works_on_a_gpu_is_not_stopped(other: dict[str, Any]):
    async def scene() -> None:
        assert not await enters(beside_slow_ones(Stopped(True), **other), lambda: None, 0.2)

    asyncio.run(scene())


def test_who_gives_up_while_he_is_stopped_is_counted_no_more():
    async def scene() -> None:
        slow = Stopped(True)
        lock = beside_slow_ones(slow)
        (sharing,) = lock._tasks

        def give_up() -> None:
            sharing.cancel()

        assert await enters(lock, give_up)
        slow.stoppable = False
        assert await enters(lock, lambda: None)

    asyncio.run(scene())
