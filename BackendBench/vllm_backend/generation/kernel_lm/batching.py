"""Many groups at a time through one decoder, in one thread.

- Each round: take waiting groups while there is room, read the prompt of one of them, add a token to every sample.
- A finished sample leaves the batch at once and is handed on at once; a group goes when its last sample has.
- The random numbers of a sample follow from the group's seed and its index alone.
- The beginnings of recent prompts are kept: the system text and an operation's description come again and again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import torch

from ..engines.base import Pressure, Sample, SamplingParameters
from .decoder import Decoder, GroupCache, PromptCache
from .drawing import draw

MOST_SAMPLES = 48
"""In one step: beyond it a step takes longer in proportion, so more would only make each sample slower."""
PROMPTS_KEPT = 16
"""Caches of recent prompts, some 8 MB each."""

Decode = Callable[[Sequence[int]], str]
Deliver = Callable[[Sample | BaseException | None], None]
"""Gets each sample, then None; or an exception. Called from the batch's thread."""


@dataclass
class Request:
    """A group that somebody wants."""

    prompt: Sequence[int]
    samples: int
    parameters: SamplingParameters
    deliver: Deliver
    aborted: bool = False


@dataclass
class _Row:
    index: int
    rng: Random
    tokens: list[int] = field(default_factory=list)


@dataclass
class _Running:
    request: Request
    cache: GroupCache
    rows: list[_Row]


class Batcher:
    """See the module's docstring."""

    def __init__(
        self, decoder: Decoder, decode: Decode, threads: int = 1, most_samples: int = MOST_SAMPLES
    ) -> None:
        self._decoder, self._decode = decoder, decode
        self._threads, self._most_samples = threads, most_samples
        self._device = decoder.embedding.device
        self._waiting: deque[Request] = deque()
        self._running: list[_Running] = []
        self._closed = self._paused = False
        self._idle = threading.Event()
        self._changed = threading.Condition()
        self._prompts: deque[PromptCache] = deque(maxlen=PROMPTS_KEPT)
        self._thread = threading.Thread(target=self._run, name="kernel_lm", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Want a group."""
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def abort(self, request: Request) -> None:
        """Do not want it any more; its ``deliver`` gets None before the next round. Nothing happens if it has ended."""
        request.aborted = True

    def pause(self) -> None:
        """Make no round until ``resume``; returns when none is under way."""
        with self._changed:
            self._paused = True
            self._changed.notify()
        self._idle.wait()

    def resume(self) -> None:
        """Go on."""
        with self._changed:
            self._paused = False
            self._changed.notify()

    def pressure(self) -> Pressure:
        """Samples under way, and that wait."""
        running = sum(len(one.rows) for one in list(self._running))
        return Pressure(running, sum(one.samples for one in list(self._waiting)))

    def close(self) -> None:
        """Stop; every group gets None. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        while self._awake():
            try:
                self._round()
            except Exception as error:  # whoever waits has to hear of it
                for running in self._running:
                    running.request.deliver(error)
                self._running.clear()
        for running in self._running:
            running.request.deliver(None)
        for request in self._waiting:
            request.deliver(None)

    def _awake(self) -> bool:
        """Wait for work; whether to go on."""
        with self._changed:
            while not self._closed and (self._paused or not (self._waiting or self._running)):
                self._idle.set()
                self._changed.wait()
            self._idle.clear()
            return not self._closed

    def _round(self) -> None:
        self._drop_aborted()
        request = self._next()
        if request is not None:
            self._begin(request)
        if not self._running:
            return
        last = [row.tokens[-1] for running in self._running for row in running.rows]
        tokens = torch.tensor(last, device=self._device)
        logits = self._decoder.step([running.cache for running in self._running], tokens)
        self._advance(self._running, logits)

    def _drop_aborted(self) -> None:
        with self._changed:
            gone = [request for request in self._waiting if request.aborted]
            for request in gone:
                self._waiting.remove(request)
        gone += [running.request for running in self._running if running.request.aborted]
        self._running = [running for running in self._running if not running.request.aborted]
        for request in gone:
            request.deliver(None)

    def _next(self) -> Request | None:
        """The next group, if there is room for it."""
        under_way = sum(len(running.rows) for running in self._running)
        with self._changed:
            if self._waiting and (
                not under_way or under_way + self._waiting[0].samples <= self._most_samples
            ):
                return self._waiting.popleft()
        return None

    def _begin(self, request: Request) -> None:
        """Read the prompt and draw the first token of each sample."""
        try:
            cache, logits = self._decoder.read(request.prompt, self._nearest(request.prompt))
        except Exception as error:
            request.deliver(error)
            return
        self._prompts.append(cache)
        seed = request.parameters.seed if request.parameters.seed is not None else Random().getrandbits(64)
        rows = [_Row(index, Random(f"{seed}/{index}")) for index in range(request.samples)]
        running = _Running(request, GroupCache(cache, request.samples), rows)
        self._running.append(running)
        self._advance([running], logits.expand(request.samples, -1))

    def _nearest(self, prompt: Sequence[int]) -> PromptCache | None:
        """The kept prompt that begins alike for longest."""
        return max(self._prompts, key=lambda kept: _alike(kept.tokens, prompt), default=None)

    def _advance(self, groups: list[_Running], logits: torch.Tensor) -> None:
        """Give every sample of these groups its next token, and let go of what is finished."""
        rows = [(running.request.parameters, row) for running in groups for row in running.rows]
        given = [(p.temperature, p.top_p, row.rng.random()) for p, row in rows]
        drawn = draw(logits, *torch.tensor(given, device=self._device).unbind(1)).tolist()
        for (_, row), token in zip(rows, drawn, strict=True):
            row.tokens.append(token)
        for running in groups:
            self._let_go(running)
        self._running = [running for running in self._running if running.rows]

    def _let_go(self, running: _Running) -> None:
        """Deliver the samples of a group that are finished."""
        end, request = self._decoder.shape.end, running.request
        left = min(request.parameters.max_tokens, self._decoder.shape.context - len(request.prompt))
        going = []
        for number, row in enumerate(running.rows):
            ended = row.tokens[-1] == end
            if not ended and len(row.tokens) < left:
                going.append(number)
                continue
            text = self._decode(row.tokens[:-1] if ended else row.tokens)
            request.deliver(Sample(row.index, text, len(row.tokens), "stop" if ended else "length"))
        if len(going) < len(running.rows):
            running.rows = [running.rows[number] for number in going]
            if going:
                running.cache.keep(going)
            else:
                request.deliver(None)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
