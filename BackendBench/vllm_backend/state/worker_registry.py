"""Who works for the farm, and who is asked to leave.

- A worker announces itself and beats; an entry that is not renewed disappears, so what is listed lives.
- A shutdown request is a key that users can set by hand (``SET shutdown:{worker_id} 1``). Each beat brings
  the answer to "am I asked to leave?" in the same round trip; leaving, and entering anew, clear the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import redis

from .keys import Keys
from .scripts import ScriptCall

Role = Literal["generate", "evaluate"]

WORKER_TTL_SECONDS = 30.0
"""An entry lives this long without a beat: several missed beats of five seconds, so that a long pause is
no death, and short enough that `status` shows no ghosts."""


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself."""

    id: str
    role: Role
    host: str
    pid: int
    device: str = ""
    state: str = "starting"
    """starting, idle, busy, draining."""
    task: str = ""
    """What it works on now, for people: ids, shortened."""
    run: str = ""
    heartbeat: float = 0.0
    """Last beat, seconds since the epoch by the clock of Redis; set by Redis."""


def enter(info: WorkerInfo, ttl_seconds: float = WORKER_TTL_SECONDS) -> ScriptCall[bool]:
    """First beat of a process: a request meant for an earlier one of this id is dropped."""
    return _beat(info, ttl_seconds, entering=True)


def beat(info: WorkerInfo, ttl_seconds: float = WORKER_TTL_SECONDS) -> ScriptCall[bool]:
    """I live and this is my state. Returns True when the worker is asked to leave."""
    return _beat(info, ttl_seconds, entering=False)


def leave(worker_id: str) -> ScriptCall[bool]:
    """Last word of a worker: its entry and any request to it are removed."""
    keys = [Keys.worker(worker_id), Keys.WORKERS, Keys.shutdown(worker_id)]
    return ScriptCall("worker_leave", keys, [worker_id], bool)


class WorkerRegistry:
    """The other side: sees the workers and asks them to leave. Sync and thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def workers(self) -> list[WorkerInfo]:
        """All that live, sorted by id."""
        ids: list[str] = sorted(self._client.zrange(Keys.WORKERS, 0, -1))  # type: ignore[type-var, arg-type]
        pipeline = self._client.pipeline(transaction=False)
        for id in ids:
            pipeline.hgetall(Keys.worker(id))
        return [_info(id, raw) for id, raw in zip(ids, pipeline.execute(), strict=True) if raw]

    def request_shutdown(self, worker_id: str, reason: str = "requested") -> None:
        """Ask a worker to finish its task and leave."""
        self._client.set(Keys.shutdown(worker_id), reason)

    def shutdown_requested(self, worker_id: str) -> bool:
        """Whether the request stands."""
        return bool(self._client.exists(Keys.shutdown(worker_id)))

    def pending_shutdowns(self) -> list[str]:
        """Ids of the workers that were asked and have not left."""
        found = self._client.scan_iter(match=Keys.SHUTDOWN_PATTERN, count=1000)
        return sorted(key.partition(":")[2] for key in found)

    def clear_shutdown(self, worker_id: str) -> None:
        """Take the request back."""
        self._client.delete(Keys.shutdown(worker_id))


def _beat(info: WorkerInfo, ttl_seconds: float, *, entering: bool) -> ScriptCall[bool]:
    keys = [Keys.worker(info.id), Keys.WORKERS, Keys.shutdown(info.id)]
    fields = {
        "role": info.role,
        "host": info.host,
        "pid": str(info.pid),
        "device": info.device,
        "state": info.state,
        "task": info.task,
        "run": info.run,
    }
    pairs = [text for pair in fields.items() for text in pair]
    return ScriptCall("worker_beat", keys, [info.id, int(ttl_seconds * 1000), int(entering), *pairs], bool)


def _info(id: str, raw: dict[str, str]) -> WorkerInfo:
    role: Role = "generate" if raw.get("role") == "generate" else "evaluate"
    return WorkerInfo(
        id=id,
        role=role,
        host=raw.get("host", ""),
        pid=int(raw.get("pid", 0)),
        device=raw.get("device", ""),
        state=raw.get("state", ""),
        task=raw.get("task", ""),
        run=raw.get("run", ""),
        heartbeat=float(raw.get("heartbeat", 0)),
    )
