"""What the model is worth: sampled on the farm's own prompts, judged by the farm's own judge.

    python -m models.kernel_lm.evaluate --dsl numba --samples 64 --out kernel_lm-numba.json

- Numba candidates are judged on this CPU, Triton candidates on this machine's GPU; nothing is timed.
- Every operation that the grammar writes, the ones kept from training listed apart.
- Samples that are the same kernel are judged once; each counts.
- The reaction to a failure: the commonest class of the first half of an operation's samples is shown in a prompt,
  with a kernel of the operation that failed so and the judge's words, and its share compared with that in the
  second half. The half that chose the class is not used: it would flatter the model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.failure import InfrastructureFault
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.generation.engines.base import Prompt, SamplingParameters
from BackendBench.vllm_backend.generation.extraction import Unusable, extract
from BackendBench.vllm_backend.generation.kernel_lm import DIRECTORY, own_sampling
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.search.policy import Failure, PromptContext
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.task import Dsl, EvaluationTask
from BackendBench.vllm_backend.state.verdict import Verdict

from . import operations, scores
from .operations import HELD_OUT, TARGETS, Described
from .sampling import Sampler
from .scores import CORRECT, Reaction, Tally

UNUSABLE = "unusable"
FAULT = "fault"
"""The judge could not judge: counted, never as the model's failure."""
REACTION_SHARE = 0.02
"""Classes rarer than this are not tested for the reaction: there is nothing to avoid."""


@dataclass(frozen=True)
class Judged:
    """One sample."""

    code: str
    outcome: str
    message: str = ""
    case: str = ""


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    model: Path
    dsl: Dsl
    names: tuple[str, ...]
    samples: int
    reaction_samples: int
    temperature: float
    top_p: float
    seed: int
    out: Path | None

    @property
    def parameters(self) -> SamplingParameters:
        """For the sampler."""
        return SamplingParameters(self.temperature, self.top_p, seed=self.seed)


class Evaluation:
    """Sampler, judge and what both have found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        on_gpu = torch.cuda.is_available()
        self._sampler = Sampler(settings.model, "cuda" if on_gpu else "cpu")
        self._device_name = torch.cuda.get_device_name() if on_gpu and settings.dsl == "triton" else ""
        self._judge_settings = JudgeSettings(target=TARGETS[settings.dsl], timing="none", seed=settings.seed)
        self._known: dict[str, Verdict] = {}
        self.seconds = {"sampling": 0.0, "judging": 0.0}
        self.tokens = 0

    async def __aenter__(self) -> Evaluation:
        self._judge = JudgeClient(self._judge_settings)
        await self._judge.start()
        self._turns = asyncio.Semaphore(max(1, self._judge.concurrency))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._judge.close()

    async def samples(
        self, asked: Sequence[tuple[Described, PromptContext]], count: int
    ) -> list[list[Judged]]:
        """``count`` judged samples of each operation with what its prompt shows."""
        prompts = [self._prompt(described, context) for described, context in asked]
        started = time.monotonic()
        texts = self._sampler.sample(prompts, count, self._settings.parameters)
        self.seconds["sampling"] += time.monotonic() - started
        self.tokens += sum(sample.tokens for group in texts for sample in group)
        started = time.monotonic()
        found = [
            await asyncio.gather(
                *(self._judged(described, s.text, s.finish_reason == "length") for s in group)
            )
            for (described, _), group in zip(asked, texts, strict=True)
        ]
        self.seconds["judging"] += time.monotonic() - started
        return found

    def _prompt(self, described: Described, context: PromptContext) -> Prompt:
        dsl = self._settings.dsl
        return compose_prompt(described.view, dsl, TARGETS[dsl], self._device_name, context)

    async def _judged(self, described: Described, text: str, truncated: bool) -> Judged:
        found = extract(text, described.view.function, truncated=truncated)
        if isinstance(found, Unusable):
            return Judged("", UNUSABLE, found.value)
        try:
            verdict = await self._verdict(described.view.name, found.code)
        except InfrastructureFault as fault:
            return Judged(found.code, FAULT, str(fault))
        if verdict.correct:
            return Judged(found.code, CORRECT)
        assert verdict.error_type is not None
        return Judged(found.code, verdict.error_type.value, verdict.error, verdict.failing_case)

    async def _verdict(self, operation: str, code: str) -> Verdict:
        identity = source_hash(code)
        async with self._turns:
            if identity not in self._known:
                task = EvaluationTask(
                    id=identity, run="evaluation", operation=operation, code=code, hash=identity,
                    dsl=self._settings.dsl, target=TARGETS[self._settings.dsl],
                )  # fmt: skip
                if not self._judge.alive:
                    self._judge = JudgeClient(self._judge_settings)
                    await self._judge.start()
                self._known[identity] = await self._judge.evaluate(task)
        return self._known[identity]

    @property
    def kernels(self) -> int:
        """Different kernels judged."""
        return len(self._known)


async def evaluate(settings: Settings) -> dict[str, Any]:
    """The report, as plain values."""
    described = [operations.from_plain(operations.describe(name)) for name in settings.names]
    async with Evaluation(settings) as evaluation:
        fresh = await evaluation.samples([(one, PromptContext()) for one in described], settings.samples)
        pairs = list(zip(described, fresh, strict=True))
        tallies = [Tally(one.view.name, one.family, counted(found)) for one, found in pairs]
        print(scores.as_text(settings.dsl, scores.table(tallies, HELD_OUT)), flush=True)
        reactions = await _reactions(evaluation, pairs, settings)
        return _report(settings, tallies, reactions, evaluation)


async def _reactions(
    evaluation: Evaluation, pairs: Sequence[tuple[Described, list[Judged]]], settings: Settings
) -> list[Reaction]:
    if not settings.reaction_samples:
        return []
    shown = [
        (one, found, failure) for one, found in pairs if (failure := commonest_failure(found)) is not None
    ]
    asked = [(one, PromptContext(failures=(failure,))) for one, _, failure in shown]
    again = await evaluation.samples(asked, settings.reaction_samples)
    return [
        Reaction(one.view.name, failure.error_type, share(second_half(found), failure.error_type),
                 share(after, failure.error_type), len(after))
        for (one, found, failure), after in zip(shown, again, strict=True)
    ]  # fmt: skip


def counted(found: Sequence[Judged]) -> Counter[str]:
    """Outcomes without faults of the judge."""
    return Counter(one.outcome for one in found if one.outcome != FAULT)


def second_half(found: Sequence[Judged]) -> Sequence[Judged]:
    """The half that chooses nothing."""
    return found[len(found) // 2 :]


def share(found: Sequence[Judged], outcome: str) -> float:
    """Of an outcome among samples."""
    outcomes = counted(found)
    return outcomes[outcome] / max(1, sum(outcomes.values()))


def commonest_failure(found: Sequence[Judged]) -> Failure | None:
    """A kernel of the commonest error class of the first half; None where everything is right or unusable."""
    half = found[: len(found) // 2]
    failures = [one for one in half if one.outcome not in (CORRECT, UNUSABLE, FAULT)]
    if not failures or len(failures) < REACTION_SHARE * len(half):
        return None
    error_type, _ = Counter(one.outcome for one in failures).most_common(1)[0]
    one = next(one for one in failures if one.outcome == error_type)
    return Failure("", error_type, one.message, one.case, one.code)


def _report(
    settings: Settings, tallies: Sequence[Tally], reactions: Sequence[Reaction], evaluation: Evaluation
) -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    return {
        "dsl": settings.dsl, "temperature": settings.temperature, "top_p": settings.top_p, "seed": settings.seed,
        "samples": settings.samples,
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "kernels_judged": evaluation.kernels, "tokens": evaluation.tokens,
        "seconds": {name: round(value, 1) for name, value in evaluation.seconds.items()},
        "families": scores.table(tallies, HELD_OUT),
        "operations": {
            tally.operation: {
                "family": tally.family, "held_out": tally.operation in HELD_OUT,
                **scores.row([tally]), "outcomes": dict(tally.outcomes.most_common()),
            }
            for tally in tallies
        },
        "reaction": scores.reaction_summary(reactions),
        "reactions": [asdict(reaction) for reaction in reactions],
    }  # fmt: skip


def show(report: Mapping[str, Any]) -> None:
    """The rest of the report for people."""
    for name, one in report["operations"].items():
        outcomes = ", ".join(f"{k} {v}" for k, v in one["outcomes"].items())
        mark = " (held out)" if one["held_out"] else ""
        print(f"  {name}{mark}: {one['acceptance']:.2f}: {outcomes}")
    reaction = report["reaction"]
    if reaction["pairs"]:
        print(
            f"reaction over {reaction['pairs']} operations: share of the class "
            f"{reaction['share_without']:.3f} without, "
            f"{reaction['share_with_failure']:.3f} with a failure of that class in the prompt "
            f"(ratio {reaction['ratio']:.2f})"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    settings = _parsed(arguments)
    report = asyncio.run(evaluate(settings))
    show(report)
    if settings.out:
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        settings.out.write_text(json.dumps(report, indent=2) + "\n")


def _parsed(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m models.kernel_lm.evaluate", description="Evaluate the model."
    )
    parser.add_argument(
        "--model", type=Path, default=DIRECTORY, help="model directory (default: the packaged one)"
    )
    parser.add_argument("--dsl", choices=sorted(TARGETS), default="numba")
    parser.add_argument(
        "--operations", default="", help="comma-separated (default: all that the grammar writes)"
    )
    parser.add_argument("--samples", type=int, default=64, help="of each operation")
    parser.add_argument(
        "--reaction-samples", type=int, default=32, help="of each operation with a failure shown"
    )
    parser.add_argument(
        "--temperature", type=float, help="default: as the model's generation_config.json says"
    )
    parser.add_argument("--top-p", type=float, help="default: likewise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args(arguments)
    if not (given.model / "model.safetensors").is_file():
        parser.error(
            f"{given.model} holds no model: run python -m models.kernel_lm.train, or give --model DIRECTORY"
        )
    temperature, top_p = own_sampling(given.model)
    wanted = [part.strip() for part in given.operations.split(",") if part.strip()]
    return Settings(
        given.model, given.dsl, tuple(wanted or operations.written(given.dsl)), given.samples,
        given.reaction_samples, temperature if given.temperature is None else given.temperature,
        top_p if given.top_p is None else given.top_p, given.seed, given.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
