"""How often a candidate is examined, in fresh processes, before its failure is believed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import torch

from ..state.error_type import ErrorType
from ..state.task import Target
from .failure import InfrastructureFault

DOUBTFUL = {
    ErrorType.CRASH, ErrorType.OUT_OF_MEMORY, ErrorType.PROTOCOL_VIOLATION, ErrorType.CLOCK_TAMPERING,
}  # fmt: skip
"""Failures that something else on the machine can cause; repeated once in a fresh process."""
OF_SOME_CALL = {ErrorType.RUNTIME_ERROR, ErrorType.ILLEGAL_MEMORY_ACCESS}
"""What a GPU reports after a call, or after many."""
FULL_TRIES = 4
"""A GPU is full of others' contexts, candidates and an engine more often than of one candidate: who runs out of its
memory is examined so often, each time when there is room."""
ROOM_BYTES = 8 << 30
"""Free, of a GPU: several times what an honest candidate takes (see capacity.TIMING_BYTES)."""
ROOM_SECONDS = 20.0
"""How long it is waited for that: longer than what fills it, a batch of timings, takes."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Hints:
    """How it came to a failure."""

    hurried: bool = False
    """A short limit was at work."""
    unplaced: bool = False
    """It is not known of which case: in a second examination each call is waited for."""


def most_tries(error: ErrorType, hints: Hints, target: Target) -> int:
    """Examinations after which a failure is believed."""
    if error is ErrorType.OUT_OF_MEMORY and target == "cuda":
        return FULL_TRIES
    hurried = hints.hurried and error is ErrorType.TIMEOUT
    unplaced = hints.unplaced and error in OF_SOME_CALL
    return 2 if error in DOUBTFUL or hurried or unplaced else 1


def is_full(error: Exception) -> bool:
    """Whether the judge itself, or eager's process, found no memory on the GPU: by torch's word or the driver's."""
    ours = isinstance(error, RuntimeError | InfrastructureFault)
    return ours and "out of memory" in str(error).lower().replace("_", " ")


async def room(device: torch.device) -> None:
    """Wait until a GPU has room for a candidate, not for ever."""
    end = time.monotonic() + ROOM_SECONDS
    while time.monotonic() < end:
        free, _ = await asyncio.to_thread(torch.cuda.mem_get_info, device)
        if free >= ROOM_BYTES:
            return
        await asyncio.sleep(POLL_SECONDS)
