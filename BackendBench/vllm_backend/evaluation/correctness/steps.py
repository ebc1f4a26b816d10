"""In which order a candidate's cases are run, and what is compiled before each part of them. Nothing is done here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..timing.bench import Bench
from .case_plan import Chunk

EARLY_CHUNKS = (1, 1)
"""Of the cases: two of three wrong kernels fail in the first one, half of the others in the second, in which the first
six cases have other values, and no more is compiled for them."""
CONFIRMED_CHUNKS = 2
"""Of the cases a confirmation repeats the first few, once with other values at the same addresses; all workloads are
compared again anyway, and compiling for every case a second time would double the price of a winner."""


@dataclass(frozen=True)
class Step:
    """Cases, with what is compiled before they run."""

    chunks: Sequence[Chunk]
    benches: Sequence[Bench] = ()
    enduring: bool = False
    """Whether many more calls follow."""


@dataclass(frozen=True)
class ToCompile:
    """A call that is to be compiled."""

    step: int
    """The number of the first step that needs it."""
    name: str
    request: dict[str, Any]
    turn: int | None
    """The configuration of an autotuned kernel; None: all of them."""


def steps(chunks: Sequence[Chunk], benches: Sequence[Bench], confirming: bool) -> list[Step]:
    """All steps of an examination; ``confirming``: of a winner's second one."""
    if confirming:
        chunks = chunks[:CONFIRMED_CHUNKS]
    found = []
    for number in EARLY_CHUNKS[: 1 if confirming else None]:
        found.append(Step(chunks[:number]))
        chunks = chunks[number:]
    if confirming:  # it will be right
        found.append(Step(chunks, benches))
    else:
        found += [Step(chunks, enduring=True), Step((), benches)]
    return [step for step in found if step.chunks or step.benches or step.enduring]


def calls_to_compile(of: Sequence[Step], turn: int) -> Iterator[ToCompile]:
    """What these steps need compiled: each call with the configuration that it will be run with. A timing tunes for
    real, with the device alone, and nothing is to be compiled then: workloads need all configurations, which takes
    longest. So they come last, and in their step they begin."""
    for number, step in enumerate(of):
        for bench in step.benches:
            yield ToCompile(number, bench.workload.name, bench.layout.request([0])[0], None)
        for chunk in step.chunks:
            requests = zip(chunk.cases, chunk.layout.request(), turns(chunk, turn), strict=True)
            yield from (ToCompile(number, case.name, request, mine) for case, request, mine in requests)


def turns(chunk: Chunk, turn: int) -> range:
    """For each case the configuration of an autotuned kernel: one after the other over all cases, so that each is
    checked as often. ``turn``: that of the first case of all, which nobody knows."""
    begin = turn + chunk.first
    return range(begin, begin + len(chunk.cases))
