"""How many candidates a judge has in hand at a time. Pure arithmetic."""

from __future__ import annotations

CORES_KEPT = 2
KEPT_SHARE = 5
"""For the judge itself and for the process that is timed, whom compilers must not make wait: two cores, or a fifth of
all. With two of sixteen a kernel of 6 us was timed twice as long as its own copy, or half."""
WAITING = 32
"""Candidates beyond those that compile. A batch of timings takes two seconds, in which nobody checks and thirteen cores
compile some twenty candidates: with fewer in flight the cores have nothing to do then."""
CONTEXT_BYTES = 640 << 20
CONTEXT_SHARE = 0.4
SHARED_CONTEXT_SHARE = 0.2
"""What one process's context takes of an H100's memory, and how much of a GPU all of them may take; beside an engine,
which has 45 %, less: with 0.27, references and a batch of timings there was no memory left."""
MOST_ON_CPU = 4
"""On a CPU compiling and checking go on side by side, timing has all cores alone; each candidate may take gigabytes."""


def compilers(target: str, cores: int) -> int:
    """Candidates that load and compile at a time."""
    return (
        max(2, cores - max(CORES_KEPT, cores // KEPT_SHARE)) if target == "cuda" else min(cores, MOST_ON_CPU)
    )


def in_flight(target: str, at_compilers: int, gpu_bytes: int, shared: bool) -> tuple[int, int]:
    """Candidates in flight, and processes kept ready beside them. On a GPU each has a context, also while a huge
    problem needs all the memory that there is. ``shared``: an engine may have some of it."""
    if target != "cuda":
        return at_compilers, max(2, at_compilers // 2)
    share = SHARED_CONTEXT_SHARE if shared else CONTEXT_SHARE
    contexts = max(4, int(share * gpu_bytes / CONTEXT_BYTES))
    flying = max(2, min(at_compilers + WAITING, contexts * 3 // 4))
    return flying, max(2, min(flying // 3, contexts - flying))
