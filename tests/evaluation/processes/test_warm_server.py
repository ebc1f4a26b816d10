"""What a candidate's process has of the warm server it was forked from, and what the server itself has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
import pytest

from BackendBench.vllm_backend.evaluation.processes import warm_pool
from BackendBench.vllm_backend.evaluation.processes.warm_pool import WarmPool
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings

T = TypeVar("T")


def with_pool(ask: Callable[[WarmPool], Awaitable[T]], target: Literal["cpu", "cuda"] = "cpu") -> T:
    async def asked() -> T:
        pool = WarmPool(JudgeSettings(target=target), 1, 1)
        await pool.start()
        try:
            return await ask(pool)
        finally:
            await pool.close()

    return asyncio.run(asked())


def open_in(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    return sorted(str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())


def test_a_candidates_process_inherits_no_descriptor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    start = asyncio.create_subprocess_exec

    async def with_one_more(*args: Any, pass_fds: list[int], **kwargs: Any) -> asyncio.subprocess.Process:
        return await start(*args, pass_fds=[*pass_fds, file.fileno()], **kwargs)

    async def opened(pool: WarmPool) -> tuple[list[str], list[str]]:
        await pool.session()
        second = await pool.session()
        return open_in(pool._process.pid), open_in(second.pid)

    with secret.open() as file:
        monkeypatch.setattr(warm_pool.asyncio, "create_subprocess_exec", with_one_more)
        of_server, of_child = with_pool(opened)
    assert str(secret) in of_server
    kinds = [link.partition(":[")[0] for link in of_child]
    assert sorted(kinds) == ["/dev/null", "/memfd:output (deleted)", "/memfd:output (deleted)", "socket"]


@pytest.mark.gpu
def test_the_warm_server_of_a_gpu_has_one_thread_and_no_device_open() -> None:
    async def looked_at(pool: WarmPool) -> tuple[int, list[str]]:
        for _ in range(3):
            (await pool.session()).kill()
        server = psutil.Process(pool._process.pid)
        return server.num_threads(), open_in(server.pid)

    threads, files = with_pool(looked_at, "cuda")
    assert threads == 1
    assert not [name for name in files if name.startswith("/dev/nvidia")]
