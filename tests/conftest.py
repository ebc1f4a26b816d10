"""Fixtures for every test: a real Redis server, and tests marked ``gpu`` skipped where there is no GPU."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.server import PrivateServer
from BackendBench.vllm_backend.state.store import KernelStore

LONG_FILES = ("tests/test_contract.py", "tests/test_packaging.py")
"""Minutes each, and a file is run by one worker: begun last, they would leave the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first. Skip what needs a GPU; torch is imported only when such a test was collected."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG_FILES))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if torch.cuda.is_available():
        return
    for item in marked:
        item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


LOOKS_AT_LOCALHOST = {"fleet", "monitor", "tests"}
"""Folders of tests that start the farm without saying which Redis: it would use one that answers on port 6379."""


@pytest.fixture(autouse=True)
def redis_of_localhost(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests run side by side, and some start a ``redis-server`` on its default port: these run while no test is under
    way that counts on there being none."""
    own = "redis_server" in request.fixturenames
    if not own and request.path.parent.name not in LOOKS_AT_LOCALHOST:
        yield
        return
    with (Path(tempfile.gettempdir()) / "backendbench-tests-redis-of-localhost.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if own else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real server of this test session, on a free loopback port."""
    with PrivateServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the session's server whose database is empty."""
    with connect(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def state(redis_client: redis.Redis) -> KernelStore:
    """A kernel store over an empty database."""
    return KernelStore(client=redis_client)
