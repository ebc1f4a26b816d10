"""Lua scripts as values: what to run, separate from who runs it.

- A ``ScriptCall`` is pure: a script's name, its keys and arguments, and how to read the reply. The functions
  of ``queue``, ``intake``, ``commit`` and ``worker_registry`` make them.
- ``run`` executes one on a sync client, ``run_async`` on an async one: nothing is written twice.
- Every script is safe to repeat, because the client repeats a command whose answer was lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Arg = str | int | float


@dataclass(frozen=True)
class ScriptCall(Generic[T_co]):
    """One execution of ``lua/{script}.lua``."""

    script: str
    keys: list[str]
    args: list[Arg]
    parse: Callable[[Any], T_co]
    """Turns the reply into what the caller wants."""


@cache
def source(script: str) -> str:
    """Text of a script, the shared prelude in front."""
    folder = resources.files(__package__) / "lua"
    return (folder / "prelude.lua").read_text("utf-8") + (folder / f"{script}.lua").read_text("utf-8")


def run(client: redis.Redis, call: ScriptCall[T]) -> T:
    """Execute on a sync client."""
    return call.parse(client.register_script(source(call.script))(call.keys, call.args))


async def run_async(client: redis.asyncio.Redis, call: ScriptCall[T]) -> T:
    """Execute on an async client."""
    script = client.register_script(source(call.script))
    return call.parse(await script(call.keys, call.args))
