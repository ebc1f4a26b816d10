"""What breaks beside a candidate never becomes its verdict: each fault is made to happen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import psutil
import pytest
import redis

from BackendBench.vllm_backend.doctor import sandbox_finding
from BackendBench.vllm_backend.evaluation import control, sandbox
from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure, InfrastructureFault
from BackendBench.vllm_backend.evaluation.judge import Judge
from BackendBench.vllm_backend.evaluation.processes import warm_pool, wire
from BackendBench.vllm_backend.evaluation.processes.session import Session
from BackendBench.vllm_backend.evaluation.processes.warm_pool import WarmPool, sandbox_spec
from BackendBench.vllm_backend.evaluation.sandbox import limits
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings, WorkerSettings
from BackendBench.vllm_backend.evaluation.worker import EvaluationWorker
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.connection import connect_async
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.intake import submit_candidate
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.store import KernelStore
from tests.adversarial import candidate_files
from tests.commands import farm
from tests.state.samples import accepted, candidate, rejected

T = TypeVar("T")
HANGS = "def relu_kernel_impl(x):\n    while True:\n        pass\n"
IDENTITY = "def relu_kernel_impl(x):\n    return x.clone()\n"
RAISES = "def relu_kernel_impl(x):\n    raise ValueError('something is lost')\n"
PATIENCE = 60.0


def settings(**changed: Any) -> JudgeSettings:
    given = {"target": "cpu", "timing": "none", "concurrency": 2, "correctness_seconds": 60.0}
    return JudgeSettings.model_validate({**given, **changed})


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def client(loop: asyncio.AbstractEventLoop) -> Iterator[JudgeClient]:
    made = JudgeClient(settings())
    loop.run_until_complete(made.start())
    yield made
    loop.run_until_complete(made.close())


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that must come."""
    async with _timeout():
        while not true():
            await asyncio.sleep(0.05)


def _timeout() -> Any:
    return _Deadline(PATIENCE)


class _Deadline:
    """``asyncio.timeout`` for Python 3.10."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handle = asyncio.get_running_loop().call_later(self._seconds, task.cancel)

    async def __aexit__(self, *_: object) -> None:
        self._handle.cancel()


def judge_of(client: JudgeClient) -> psutil.Process:
    assert client._process is not None
    return psutil.Process(client._process.pid)


def warm_server_of(client: JudgeClient) -> psutil.Process:
    return next(p for p in judge_of(client).children() if any("warm_server" in word for word in p.cmdline()))


def busy_candidates(client: JudgeClient) -> list[psutil.Process]:
    """Candidates' processes that work."""
    family = warm_server_of(client).children(recursive=True)
    return [p for p in family if p.is_running() and p.status() == psutil.STATUS_RUNNING]


async def break_it(client: JudgeClient, victim: Callable[[JudgeClient], psutil.Process]) -> list[object]:
    """What two candidates under way get when ``victim`` is killed, and that nothing of the judge's lives on."""
    tasks = [asyncio.ensure_future(client.evaluate(candidate(f"r:{i}", code=HANGS))) for i in range(2)]
    await until(lambda: len(busy_candidates(client)) == 2)
    family = judge_of(client).children(recursive=True)
    victim(client).kill()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: not client.alive)
    await until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))
    return list(found)


def test_a_killed_warm_server_is_nobodys_fault(loop: asyncio.AbstractEventLoop, client: JudgeClient) -> None:
    found = loop.run_until_complete(break_it(client, warm_server_of))
    assert all(isinstance(f, InfrastructureFault) for f in found), found


def test_a_killed_judge_is_nobodys_fault(loop: asyncio.AbstractEventLoop, client: JudgeClient) -> None:
    found = loop.run_until_complete(break_it(client, judge_of))
    assert all(isinstance(f, InfrastructureFault) for f in found), found
    with pytest.raises(InfrastructureFault, match="not running"):
        loop.run_until_complete(client.evaluate(candidate()))


def test_a_sandbox_that_cannot_be_made_is_a_fault(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = sandbox_spec(settings()).model_copy(update={"gpu_devices": ("/dev/null/impossible",)})
    layers = tuple(layer for layer in broken.layers if layer != "cgroup")
    limits = {"tmp_bytes": -1, "layers": layers} if "namespaces" in layers else {"memory_bytes": -1}
    monkeypatch.setattr(warm_pool, "sandbox_spec", lambda *_: broken.model_copy(update=limits))

    async def ask() -> None:
        pool = WarmPool(settings(), 1, 1)
        await pool.start()
        try:
            await pool.session()
        finally:
            await pool.close()

    with pytest.raises(InfrastructureFault):
        loop.run_until_complete(ask())


ROOM = 24
"""Descriptors of a warm server, a dozen of them for processes."""


class Full(WarmPool):
    """A pool whose GPU is full the first times."""

    full = 2

    async def _spawn(self) -> Session:
        session = await super()._spawn()
        ask = session.request

        async def request(do: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
            self.full -= 1
            if self.full >= 0:
                raise CandidateFailed(Failure(ErrorType.OUT_OF_MEMORY, "no room for a context"))
            return await ask(do, *args, **kwargs)

        session.request = request  # type: ignore[method-assign]
        return session


def test_a_warm_server_without_descriptors_waits_until_others_have_ended(
    loop: asyncio.AbstractEventLoop,
) -> None:
    async def served() -> tuple[int, int, bool]:
        pool = WarmPool(settings(), 1, 1)
        await pool.start()
        try:
            held = [await pool.session()]
            server = psutil.Process(pool._process.pid)
            _, most = server.rlimit(psutil.RLIMIT_NOFILE)
            server.rlimit(psutil.RLIMIT_NOFILE, (ROOM, most))
            while True:
                waiting = asyncio.ensure_future(pool.session())
                done, _ = await asyncio.wait([waiting], timeout=1.5)
                if not done:
                    break
                held.append(waiting.result())
            for session in held:
                session.kill()
            return len(held), (await waiting).pid, pool.broken
        finally:
            await pool.close()

    made, pid, broken = loop.run_until_complete(served())
    assert 1 < made < ROOM
    assert pid
    assert not broken


def test_a_process_that_cannot_be_set_up_for_a_while_is_made_again(loop: asyncio.AbstractEventLoop) -> None:
    async def ask() -> tuple[int, bool]:
        pool = Full(settings(), 1, 1)
        await pool.start()
        try:
            session = await pool.session()
            return session.pid, pool.broken
        finally:
            await pool.close()

    pid, broken = loop.run_until_complete(ask())
    assert pid
    assert not broken


def test_a_warm_server_that_does_not_answer_is_given_up(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_pool, "SPAWN_SECONDS", 1.0)

    async def asked() -> tuple[str, bool, bool]:
        pool = WarmPool(settings(), 1, 1)
        await pool.start()
        server = psutil.Process(pool._process.pid)
        server.suspend()
        try:
            async with _timeout():
                while True:  # some may have been made before
                    await pool.bare()
        except InfrastructureFault as fault:
            return str(fault), pool.broken, server.is_running()
        finally:
            await pool.close()
            assert not server.is_running()

    text, broken, running = loop.run_until_complete(asked())
    assert "made no process for 1 s; state T, waits in " in text
    assert broken
    assert running


@pytest.mark.skipif("cgroup" not in sandbox.probe().active, reason="no cgroups here")
def test_a_warm_server_that_ends_leaves_no_cgroups(loop: asyncio.AbstractEventLoop) -> None:
    async def groups() -> list[Path]:
        pool = WarmPool(settings(), 1, 2)
        await pool.start()
        try:
            held = [await pool.bare() for _ in range(3)]
            files = [Path(f"/proc/{session.pid}/cgroup") for session in held]
            lines = [line for file in files for line in file.read_text().splitlines()]
            names = {line.rpartition("/")[2] for line in lines if limits.PARENT in line}
            found = [path for name in names for path in limits.ROOT.glob(f"**/{limits.PARENT}/{name}")]
            assert len(names) == len(held) and all(path.exists() for path in found)
            return found
        finally:
            await pool.close()

    made = loop.run_until_complete(groups())
    assert made
    assert not [path for path in made if path.exists()]


class Slow(WarmPool):
    """A pool whose processes take for ever to be set up."""

    made: ClassVar[list[Session]] = []

    async def _spawn(self) -> Session:
        session = await super()._spawn()
        self.made.append(session)

        async def request(do: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
            await asyncio.sleep(600)
            return {}

        session.request = request  # type: ignore[method-assign]
        return session


def test_who_gives_up_waiting_for_a_process_leaves_none_behind(loop: asyncio.AbstractEventLoop) -> None:
    async def given_up() -> bool:
        pool = Slow(settings(), 1, 0)
        await pool.start()
        try:
            waiting = asyncio.ensure_future(pool.session())
            await asyncio.wait([waiting], timeout=1.0)
            waiting.cancel()
            await asyncio.wait([waiting])
            return all([await session.gone() for session in pool.made])
        finally:
            await pool.close()

    assert loop.run_until_complete(given_up())
    assert Slow.made


def test_candidates_that_never_have_a_context_do_not_keep_eager_from_one(
    loop: asyncio.AbstractEventLoop,
) -> None:
    async def served() -> int:
        pool = WarmPool(settings(), 1, 1)
        await pool.start()
        try:
            stuck = [await pool.bare() for _ in range(warm_pool.AT_A_TIME)]
            for session in stuck:
                os.kill(session.pid, signal.SIGSTOP)
            tasks = [asyncio.ensure_future(pool.set_up(session)) for session in stuck]
            await asyncio.sleep(0.1)
            pid = (await pool.session(eager=True)).pid
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return pid
        finally:
            await pool.close()

    assert loop.run_until_complete(served())


class Peer:
    """A session whose candidate is played by the test."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.killed = 0
        self.exited: asyncio.Future[int] = asyncio.get_event_loop().create_future()
        self.session = Session("token", 1, ours, self.exited, self._kill)

    def _kill(self) -> None:
        self.killed += 1

    def read(self) -> dict[str, Any]:
        return wire.receive(self.theirs)[0]


def run(loop: asyncio.AbstractEventLoop, body: Callable[[], Awaitable[T]]) -> T:
    async def wrapped() -> T:
        return await body()

    return loop.run_until_complete(wrapped())


def test_a_reply_with_another_id_is_a_violation(loop: asyncio.AbstractEventLoop) -> None:
    async def body() -> ErrorType:
        peer = Peer()
        asking = asyncio.ensure_future(peer.session.request("run", 30.0))
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, peer.read)
        wire.send(peer.theirs, {"id": "0" * 16, "results": []})
        with pytest.raises(CandidateFailed) as caught:
            await asking
        assert peer.killed == 1
        return caught.value.failure.error_type

    assert run(loop, body) is ErrorType.PROTOCOL_VIOLATION


def test_a_reply_after_the_time_limit_is_dropped(loop: asyncio.AbstractEventLoop) -> None:
    async def body() -> ErrorType:
        peer = Peer()
        with pytest.raises(CandidateFailed) as caught:
            await peer.session.request("run", 0.05)
        identity = peer.read()["id"]
        with pytest.raises(OSError):  # nobody is there to read it
            for _ in range(2):
                wire.send(peer.theirs, {"id": identity, "results": []})
        assert peer.killed == 1
        return caught.value.failure.error_type

    assert run(loop, body) is ErrorType.TIMEOUT


def test_a_trusted_process_is_never_a_candidates_failure(loop: asyncio.AbstractEventLoop) -> None:
    async def body() -> None:
        peer = Peer()
        peer.session.trusted = True
        with pytest.raises(InfrastructureFault, match="eager"):
            await peer.session.request("run", 0.05)

    run(loop, body)


def test_the_client_drops_answers_that_it_did_not_ask_for(loop: asyncio.AbstractEventLoop) -> None:
    async def body() -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        client = JudgeClient(settings())
        client._socket = ours
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        client._waiting[7] = waiting
        listening = asyncio.ensure_future(client._listen())
        wire.send(theirs, {"id": 6, "fault": "of somebody else"})
        wire.send(theirs, {"fault": "of nobody"})
        wire.send(theirs, {"id": 7, "fault": "mine"})
        wire.send(theirs, {"id": 7, "fault": "once more"})
        answer = await waiting
        theirs.close()
        await listening
        return answer

    assert run(loop, body)["fault"] == "mine"


def test_a_task_goes_back_without_blame_and_is_judged_again(
    loop: asyncio.AbstractEventLoop, redis_url: str, redis_client: redis.Redis
) -> None:
    slow = "for _ in range(10**8):\n    pass\n\n\n" + IDENTITY
    task = candidate(code=slow)
    scripts.run(redis_client, submit_candidate(task))

    async def body() -> None:
        connection = connect_async(redis_url)
        made = WorkerSettings(worker_id="w", redis_url=redis_url, judge=settings(compile_seconds=120.0))
        worker = EvaluationWorker(made, connection)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: worker._judge.alive and bool(worker._under_way))
        first = worker._judge
        judge_of(first).kill()
        await until(lambda: worker._judge is not first)
        await until(lambda: int(redis_client.llen(Keys.COMPLETED_TASKS)) == 1)
        worker.stop()
        await running
        await connection.aclose()

    loop.run_until_complete(body())
    stats = KernelStore(client=redis_client).get_operation_stats("relu")
    assert stats["total_attempts"] == 1
    recorded = json.loads(redis_client.lindex(Keys.COMPLETED_TASKS, 0))  # type: ignore[arg-type]
    assert recorded["error_type"] == ErrorType.WRONG_VALUES.value


def test_a_stream_judged_twice_ends_the_same(loop: asyncio.AbstractEventLoop, client: JudgeClient) -> None:
    attacks = {
        "identity", "returns_its_input", "constant_zeros", "zeroes_its_inputs", "cached_by_shape", "skips_the_tail",
        "library_method", "library_functional_alias", "raises_a_megabyte", "raises_system_exit", "patched_evaluator",
        "writes_out_of_bounds", "returns_a_numpy_array", "lazy_tensor_subclass", "special_cases_small_inputs",
    }  # fmt: skip
    controls = {
        "numba_relu_loop",
        "numba_mm_blocked",
        "numba_mul_broadcast",
        "numba_embedding",
        "numba_rms_norm",
    }
    files = [f for f in candidate_files.load("attacks", "cpu") if f.name in attacks]
    files += [f for f in candidate_files.load("controls", "cpu") if f.name in controls]
    assert len(files) == 20

    async def stream() -> dict[str, str]:
        verdicts = await asyncio.gather(*(client.evaluate(f.task("cpu")) for f in files))
        return {v.task_id: v.error_type.value if v.error_type else "accepted" for v in verdicts}

    first = loop.run_until_complete(stream())
    assert loop.run_until_complete(stream()) == first
    assert {name for name, ended in first.items() if ended == "accepted"} == controls


def test_a_candidate_that_hangs_keeps_nobody_from_being_timed(loop: asyncio.AbstractEventLoop) -> None:
    honest = next(f for f in candidate_files.load("controls", "cpu") if f.name == "numba_relu_loop")
    client = JudgeClient(settings(timing="quick", correctness_seconds=600.0))

    async def beside_one_that_hangs() -> None:
        await client.start()
        hanging = asyncio.ensure_future(client.evaluate(candidate("r:hangs", code=HANGS)))
        await until(lambda: bool(busy_candidates(client)))
        verdict = await client.evaluate(honest.task("cpu"))
        assert verdict.correct
        assert verdict.timings
        assert not hanging.done()
        await until(lambda: bool(busy_candidates(client)))  # and it goes on
        hanging.cancel()

    try:
        loop.run_until_complete(asyncio.wait_for(beside_one_that_hangs(), 5 * PATIENCE))
    finally:
        loop.run_until_complete(client.close())


@pytest.fixture
def without_seccomp(tmp_path: Path) -> dict[str, str]:
    """An environment in which the library of one strong layer cannot be loaded."""
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')\n")
    (tmp_path / "kernel.py").write_text(IDENTITY)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    return {"PYTHONPATH": path}


def test_require_sandbox_refuses_a_machine_that_lacks_a_strong_layer(
    tmp_path: Path, without_seccomp: dict[str, str]
) -> None:
    common = ("--operation", "relu", "--require-sandbox")
    done = farm("evaluate", "kernel.py", *common, cwd=tmp_path, **without_seccomp)
    assert done.refused("--require-sandbox", "seccomp", "libseccomp")
    done = farm(
        "run",
        "--operations",
        "relu",
        "--engine",
        "grammar",
        "--require-sandbox",
        cwd=tmp_path,
        **without_seccomp,
    )
    assert done.refused("--require-sandbox", "seccomp")


def test_a_missing_strong_layer_is_said_once(tmp_path: Path, without_seccomp: dict[str, str]) -> None:
    done = farm("evaluate", "kernel.py", "--operation", "relu", cwd=tmp_path, **without_seccomp)
    assert done.code == 1, done.err  # judged all the same, and rejected
    assert done.err.count("WARNING") == 1 and "seccomp" in done.err


def test_what_is_said_of_a_sandbox() -> None:
    everything = sandbox.Layers(("namespaces", "landlock", "seccomp", "cgroup", "rlimits"), {})
    usable = sandbox.Layers(
        ("namespaces", "seccomp", "rlimits"), {"landlock": "old kernel", "cgroup": "not root"}
    )
    weak = sandbox.Layers(("rlimits",), {"namespaces": "forbidden", "seccomp": "no library"})
    assert sandbox.warning(everything, required=True) == sandbox.warning(usable, required=True) == ""
    assert "namespaces (forbidden)" in sandbox.warning(weak)
    with pytest.raises(sandbox.SandboxTooWeak, match="namespaces"):
        sandbox.warning(weak, required=True)
    assert sandbox_finding(everything).state == "ok"
    found = sandbox_finding(usable)
    assert found.state == "absent" and "old kernel" in found.detail and "cgroup" in found.mend
    assert "WEAK" in sandbox_finding(weak).detail and "WEAK" not in found.detail


def test_signals_of_a_candidates_end_are_told_apart() -> None:
    from BackendBench.vllm_backend.evaluation.failure import from_exit

    assert from_exit(signal.SIGKILL, "x").error_type is ErrorType.OUT_OF_MEMORY
    assert from_exit(signal.SIGXCPU, "x").error_type is ErrorType.TIMEOUT
    assert from_exit(signal.SIGSEGV, "x").error_type is ErrorType.CRASH
    assert from_exit(3 << 8, "x").error_type is ErrorType.CRASH


def test_a_judge_that_finds_a_right_kernel_right_vouches(
    loop: asyncio.AbstractEventLoop, client: JudgeClient
) -> None:
    loop.run_until_complete(client.vouch())


def test_a_judge_that_finds_a_right_kernel_wrong_says_that_its_machine_is_not_sound(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Here its candidates may have no thread beside the first, and Numba's parallel loops need some."""

    async def judged() -> None:
        client = JudgeClient(settings(processes=2))
        await client.start()
        try:
            await client.vouch()
        finally:
            await client.close()

    with pytest.raises(InfrastructureFault, match="known to be right is found wrong here"):
        loop.run_until_complete(judged())


def test_a_worker_judges_nothing_where_its_judge_does_not_vouch(
    loop: asyncio.AbstractEventLoop,
    redis_url: str,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripts.run(redis_client, submit_candidate(candidate(code=IDENTITY)))
    monkeypatch.setattr("BackendBench.vllm_backend.evaluation.worker.GIVE_UP_AFTER", 1)

    async def worked() -> int:
        connection = connect_async(redis_url)
        made = WorkerSettings(worker_id="w", redis_url=redis_url, judge=settings(processes=2))
        try:
            return await EvaluationWorker(made, connection).run()
        finally:
            await connection.aclose()

    assert loop.run_until_complete(worked()) == 1
    assert redis_client.llen(Keys.COMPLETED_TASKS) == 0
    assert redis_client.llen(Keys.EVAL_QUEUE) == 1


def test_evaluate_asks_who_is_to_blame_for_a_candidate_that_fails(tmp_path: Path) -> None:
    (tmp_path / "k.py").write_text(RAISES)
    asked = ("evaluate", "k.py", "--operation", "relu", "--target", "cpu")
    told = farm(*asked, cwd=tmp_path)
    assert (told.code, "rejected: runtime_error" in told.out) == (1, True)
    assert farm(*asked, "--processes", "2", cwd=tmp_path).refused("known to be right", "could not judge it")


def test_a_slow_machine_may_be_sound() -> None:
    assert control.complaint(accepted(candidate())) == ""
    assert control.complaint(rejected(candidate(), ErrorType.TIMEOUT)) == ""
    assert "(runtime_error: " in control.complaint(rejected(candidate(), ErrorType.RUNTIME_ERROR))
    assert control.complaint(rejected(candidate(), ErrorType.WRONG_VALUES))


def test_a_failure_on_a_lost_device_is_a_fault_and_ends_the_judge(loop: asyncio.AbstractEventLoop) -> None:
    """The device is lost as far as the judge can tell; the candidate, which fails by itself, gets no verdict."""

    class Lost(Judge):
        def _device_answers(self) -> bool:
            return False

    async def judged() -> tuple[bool, bool]:
        judge = Lost(settings())
        await judge.start()
        try:
            sound = await judge.evaluate(candidate(code=IDENTITY))
            with pytest.raises(InfrastructureFault, match="does not answer"):
                await judge.evaluate(candidate(code=RAISES))
            return sound.error_type == ErrorType.WRONG_VALUES, judge.broken
        finally:
            await judge.close()

    assert loop.run_until_complete(judged()) == (True, True)
