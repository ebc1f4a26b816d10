"""How many candidates a judge has in hand at a time. Pure arithmetic."""

from __future__ import annotations

CORES_KEPT = 2
KEPT_SHARE = 5
"""For the judge itself and for the process that is timed, whom compilers must not make wait: two cores, or a fifth of
all. With two of sixteen a kernel of 6 us was timed twice as long as its own copy, or half."""
WAITING = 16
"""Candidates beyond those that compile. A batch of timings takes two seconds, in which nobody checks and thirteen cores
compile some twenty candidates: with twelve the cores had nothing to do then. But the more contexts there are the longer
the driver takes to make one more, while everybody else who needs it waits."""
SPARES = 4
"""Processes kept ready: one takes 10 ms."""
CONTEXT_BYTES = 640 << 20
CONTEXT_SHARE = 0.4
SHARED_CONTEXT_SHARE = 0.2
"""What one process's context takes of an H100's memory, and how much of a GPU all of them may take; beside an engine,
which has 45 %, less: with 0.27, references and a batch of timings there was no memory left."""
TIMING_BYTES = 3 << 29
TIMING_SHARE = 0.25
LEAST_TIMING = 3
MOST_TIMING = 12
"""What a candidate that is about to be timed takes of a GPU (512 MB of inputs and outputs in an arena, as much of its
own, 256 MB that are read for a cold L2), and how much of a GPU all of them may take: 12 on an H100, half of it beside
an engine."""
EAGER_BYTES = 3 << 30
EAGER_SHARE = 0.08
SHARED_EAGER_SHARE = 0.05
MOST_EAGER = 2
"""What a process of eager's takes of a GPU, with its context and arenas, how much all of them may take, and how many
are of use (see timing/eager.py)."""
REFERENCE_SHARE = 0.3
SHARED_REFERENCE_SHARE = 0.13
REFERENCE_BYTES = 4 << 30
"""What references may take of a GPU, of one beside an engine, and on a CPU: an operation has two sets of them, of some
hundred MB on a CPU and of about 0.8 GB on a GPU. With a tenth of an H200 sixteen operations by turns beside an engine
had each other's dropped, and candidates waited 1.6 s for them on average."""
MOST_ON_CPU = 4
"""On a CPU compiling and checking go on side by side, timing has all cores alone; each candidate may take gigabytes."""
BESIDE_ON_CPU = 1
"""Candidates beyond those: one that hangs has its place for a minute of its own time."""


def compilers(target: str, cores: int) -> int:
    """Candidates that load and compile at a time."""
    return (
        max(2, cores - max(CORES_KEPT, cores // KEPT_SHARE)) if target == "cuda" else min(cores, MOST_ON_CPU)
    )


def in_flight(target: str, at_compilers: int, gpu_bytes: int, shared: bool) -> int:
    """Candidates in flight. On a GPU each may have a context, also while a huge problem needs all the memory that there
    is. ``shared``: an engine may have some of it."""
    if target != "cuda":
        return at_compilers + BESIDE_ON_CPU
    share = SHARED_CONTEXT_SHARE if shared else CONTEXT_SHARE
    return max(2, min(at_compilers + WAITING, int(share * gpu_bytes / CONTEXT_BYTES)))


def timing_places(gpu_bytes: int, shared: bool) -> int:
    """Candidates that hold memory for a timing: while a batch of them is timed, the next ones rehearse. ``shared``: an
    engine may have memory there too."""
    share = TIMING_SHARE / 2 if shared else TIMING_SHARE
    return max(LEAST_TIMING, min(MOST_TIMING, int(share * gpu_bytes / TIMING_BYTES)))


def eager_processes(target: str, gpu_bytes: int, shared: bool) -> int:
    """Processes of eager that are timed by turns. ``shared``: an engine may have memory there too."""
    share = SHARED_EAGER_SHARE if shared else EAGER_SHARE
    return max(1, min(MOST_EAGER, int(share * gpu_bytes / EAGER_BYTES))) if target == "cuda" else 1


def reference_bytes(target: str, gpu_bytes: int, shared: bool) -> int:
    """What references may take. ``shared``: an engine may have memory there too."""
    if target != "cuda":
        return REFERENCE_BYTES
    return int((SHARED_REFERENCE_SHARE if shared else REFERENCE_SHARE) * gpu_bytes)
