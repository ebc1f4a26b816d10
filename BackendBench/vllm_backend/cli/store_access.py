"""Opening the Redis of a command that reads the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config import RedisConfig, StoreConfig
from ..fleet.private_redis import UsedRedis, open_for_reading, open_private
from ..fleet.run_directory import read_record
from ..state.connection import typed_errors


@contextmanager
def opened(config: StoreConfig) -> Iterator[UsedRedis]:
    """The Redis of these settings; redis-py's errors become typed ones."""
    with _closing(open_for_reading(config, config.runs_dir)) as used:
        yield used


@contextmanager
def opened_for_run(path: Path, config: RedisConfig) -> Iterator[tuple[UsedRedis, str]]:
    """The Redis of an earlier run and that run's id. Raises ConfigError when ``path`` is no run directory."""
    record = read_record(path)
    if record.redis == "private":
        used = open_private(Path(record.redis_directory))
    else:
        used = open_for_reading(config, path.parent)
    with _closing(used):
        yield used, record.run


@contextmanager
def _closing(used: UsedRedis) -> Iterator[UsedRedis]:
    try:
        with typed_errors(used.url):
            yield used
    finally:
        used.close()
