"""Compiles ahead of the first launch, in portions: how much at a time, on how many threads, with which priority.

- What the first cases need comes first: two of three candidates fail there, and nothing else is compiled for them.
- Whose kernels take seconds has them compiled side by side, since he would be left over when everybody else is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from ...state.error_type import ErrorType
from ..failure import CandidateFailed
from ..processes.session import Session
from ..resources.compiler_places import Taken
from ..trial import Examination
from .progress import Progress
from .steps import ToCompile

MENDED = {ErrorType.RUNTIME_ERROR}
MENDED_BY_A_CONTEXT = {
    *MENDED,
    ErrorType.OUT_OF_MEMORY,
    ErrorType.ILLEGAL_MEMORY_ACCESS,
    ErrorType.IMPORT_ERROR,
}
"""What compiling ahead may fail for although the kernel is right: on several threads, or on tensors without memory."""
MOST_THREADS = 12
CALLS_A_THREAD = 4
"""Threads that compile for one candidate where cores are idle, and calls after which it looks how many are. A tuned
matrix product in float32 takes 30 s of one core for all its variants: on one thread it would be judged long after
everybody who came with it. Where all cores are busy threads gain nothing: each candidate has one then."""
FIRST_NICE, REST_NICE = 10, 19
"""How far who compiles steps back: a tenth of a share of a core, beside somebody who needs one. Compiling takes most of
all cores, and who makes a context or loads a kernel meanwhile holds a lock of the driver's for which everybody else
waits. The first cases settle two of three candidates, so what they need goes before, seven to one, what those who
passed need. So does all that a slow one needs: the longest work first, since all else goes beside it."""
LONG_SECONDS = 0.5
LONG_THREADS = 6
"""Who compiles for so long has so many threads even where all cores are busy, and everything that a step needs at once;
MOST_THREADS once the first cases are right."""
KERNEL_SECONDS = 1.0
"""Of processor time, without ptxas's: who has a kernel that takes so long is slow, and begins with all the rest beside
the first cases, right or not, on MOST_THREADS more. The slowest of such a kernel's variants takes seconds, and would be
waited for in each step: a product in float32, tuned, took 1, 3 and 5 s one after the other for what takes 5 s at once,
and was left over when everybody else was done. A product that is not tuned takes 0.3 to 0.7 s for each of its kernels;
by the clock on the wall it was slow as well where cores were busy, and what it began with was not needed where it was
wrong."""
RIGHT_SECONDS = 1.5
"""Who has compiled for so long and is right has all steps at once."""


@dataclass(frozen=True)
class Portion:
    """What a candidate is asked to compile at a time."""

    calls: Sequence[ToCompile]
    needed: int
    """So many of them. Where a kernel of these takes longer than ``patience`` seconds the others are asked for too;
    what of them has not begun when these are done is left, unless as much is done."""
    patience: float
    """Of processor time."""
    threads: int

    def alone(self) -> Portion:
        """What is needed, on one thread."""
        return Portion(self.calls[: self.needed], self.needed, 0.0, 1)


@dataclass
class State:
    """Of a candidate that compiles."""

    threads: int
    """Cores that are there for it."""
    several: bool
    """Whether it can be compiled on several threads, as far as is known."""
    first: bool
    """Whether nothing has been compiled in this step."""
    right: bool
    """Whether the first cases were."""
    spent: float
    """Seconds of compiling so far."""
    slow: bool = False
    """Whether a kernel of it takes long."""


def portion(calls: Sequence[ToCompile], needed: int, now: State) -> Portion:
    """The next one of ``calls``, of which the first ``needed`` are."""
    threads = now.threads
    if now.spent > LONG_SECONDS:
        at_once = len(calls) if now.right and now.spent > RIGHT_SECONDS else needed
        if now.several:
            threads = max(threads, MOST_THREADS if now.right else LONG_THREADS)
    else:  # one call of a tuned matrix product may take seconds
        at_once = min(needed, threads if now.first else CALLS_A_THREAD * threads)
    ahead = now.several and not now.right
    return Portion(calls if ahead else calls[:at_once], at_once, 0.0 if now.slow else KERNEL_SECONDS, threads)


class CompilingStage:
    """See the module's docstring. One for all candidates of a judge."""

    def __init__(
        self, seconds: float, place: Callable[[Examination], AbstractAsyncContextManager[Taken | None]]
    ) -> None:
        """``seconds``: the limit; ``place``: where it is done, with cores to be had or none."""
        self._seconds, self._place = seconds, place

    async def compile(
        self, one: Examination, step: int, left: Progress, gpu: Mapping[str, int] | None = None
    ) -> None:
        """Compile what a step needs without launching, for as long as is left for that. What fails for another reason
        than the compiler's will fail again when it is run. ``gpu``: the figures of one of which the process has no
        context yet. Raises CandidateFailed."""
        needed = sum(call.step <= step for call in left.calls)
        if not needed:
            return
        session = one.session
        asked = session.own_time
        async with self._place(one) as cores:
            now = State(1, cores is not None, True, left.passed > 0, 0.0)
            while needed > 0 and left.compiled:
                now.threads = cores.adjust(MOST_THREADS if now.several else 1) if cores else 1
                now.spent, now.slow = self._seconds - left.compiling, left.slow
                wanted = portion(left.calls, needed, now)
                now.several = await _compiled(session, wanted, now, left, gpu)
                left.calls, needed, now.first = left.calls[wanted.needed :], needed - wanted.needed, False
        left.deadline += session.own_time - asked


def returned(reply: Mapping[str, Any], count: int) -> list[Any]:
    """What so many calls returned, as the reply has it. It decides nothing in the candidate's favour."""
    results = reply.get("results")
    return results if isinstance(results, list) and len(results) == count else [None] * count


async def _compiled(
    session: Session, wanted: Portion, now: State, left: Progress, gpu: Mapping[str, int] | None
) -> bool:
    """Returns whether it can be compiled on several threads."""
    started = session.own_time
    session.stage, session.case_names = "compiling", [call.name for call in wanted.calls]
    mended = MENDED if gpu is None else MENDED_BY_A_CONTEXT
    # A wrapper that looks at its compiled kernel finds none while others compile it: then once more on one thread.
    alone = wanted.alone()
    both = now.several and (wanted.threads > 1 or len(wanted.calls) > wanted.needed)
    for part in [wanted, alone] if both else [alone]:
        limit = max(0.1, left.compiling - (session.own_time - started))
        try:
            reply = await session.request(
                "dry_run", limit, calls=[call.request for call in part.calls], turns=[call.turn for call in part.calls],
                needed=part.needed, threads=part.threads, nice=REST_NICE if now.right and not now.slow else FIRST_NICE,
                patience=part.patience, ahead={"threads": MOST_THREADS, "nice": FIRST_NICE}, gpu=gpu,
            )  # fmt: skip
        except CandidateFailed as error:
            if error.failure.error_type not in mended:
                raise
            now.several = False
            continue
        left.compiled, left.slow = not reply.get("anew"), left.slow or reply.get("slow") is True
        if left.compiled and gpu is not None:
            left.returned += returned(reply, part.needed)
        break
    else:
        left.compiled = False
    left.compiling = max(0.1, left.compiling - (session.own_time - started))
    return now.several
