"""The candidates of this folder: what their header says they are, and how one of them ended.

- A header is the comments at the top of a file: ``# operation: relu``, ``# target: cpu|cuda|both``,
  ``# dsl: cuda`` where it is neither Triton nor Numba, ``# needs: namespaces`` for layers of the sandbox.
- An attack's ``# expect:`` names the error types that a user may see; ``# behind the screen:`` those that are left
  when the screen is switched off. ``slower`` there means: accepted, with the speedup below 1 that is its due.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from BackendBench.vllm_backend.evaluation import sandbox
from BackendBench.vllm_backend.evaluation.screening.screen import screen
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.state.task import Dsl, EvaluationTask, Target
from BackendBench.vllm_backend.state.verdict import Verdict

FOLDER = Path(__file__).parent
Kind = Literal["attacks", "controls"]
HEADER = re.compile(r"^# ([a-z ]+): (.+)$")
SLOWER = "slower"


def judge_settings(target: Target, kind: Kind) -> JudgeSettings:
    """Small limits, so that what hangs or grows is over soon; attacks meet the walls behind the screen."""
    seconds = 60.0 if kind == "controls" else 12.0 if target == "cpu" else 45.0  # extensions take nvcc 30 s
    return JudgeSettings(
        target=target, concurrency=2 if target == "cpu" else 0, skip_screen=kind == "attacks", timing="quick",
        compile_seconds=2 * seconds if kind == "controls" else seconds,
        correctness_seconds=seconds, timing_seconds=20.0, tmp_bytes=64 << 20,
        processes=64 if target == "cpu" else 256,
        memory_bytes=(1 << 30) if target == "cpu" else (8 << 30),
    )  # fmt: skip


@dataclass(frozen=True)
class CandidateFile:
    """One attack or control."""

    name: str
    code: str
    header: dict[str, str]

    @property
    def operation(self) -> str:
        return self.header["operation"]

    def runs_on(self, target: Target) -> bool:
        """Whether it is meant for this target."""
        return self.header["target"] in (target, "both")

    def named(self, key: str) -> frozenset[str]:
        """The comma-separated words of a header line."""
        return frozenset(word.strip() for word in self.header.get(key, "").split(",") if word.strip())

    def lacking(self) -> str:
        """What this machine lacks of what the file needs: layers of the sandbox, nvcc; '' if nothing."""
        layers = self.named("needs") - {"nvcc"}
        missing = sorted(layers & set(sandbox.probe().missing)) if layers else []
        if "nvcc" in self.named("needs") and not shutil.which("nvcc"):
            missing.append("nvcc")
        return ", ".join(missing)

    def screened(self) -> str:
        """The error type that the screen alone gives it, or ''."""
        failure = screen(self.code, f"{self.operation}_kernel_impl")
        return failure.error_type.value if failure else ""

    def task(self, target: Target, **replaced: str) -> EvaluationTask:
        """What a worker would claim; ``replaced`` fills ``@NAME@`` in the code."""
        dsl: Dsl = "numba" if target == "cpu" else "cuda" if self.header.get("dsl") == "cuda" else "triton"
        code = self.code
        for key, value in replaced.items():
            code = code.replace(f"@{key}@", value)
        return EvaluationTask(
            id=self.name, run="adversarial", operation=self.operation, code=code, hash=self.name, dsl=dsl,
            target=target,
        )  # fmt: skip


def load(kind: Kind, target: Target) -> list[CandidateFile]:
    """All files of a kind that run on ``target``, by name."""
    found = [_read(path) for path in sorted((FOLDER / kind).glob("*.py"))]
    return [candidate for candidate in found if candidate.runs_on(target)]


def _read(path: Path) -> CandidateFile:
    code = path.read_text("utf-8")
    header: dict[str, str] = {}
    for line in code.splitlines():
        found = HEADER.match(line)
        if not found:
            break
        header[found[1]] = found[2].strip()
    return CandidateFile(path.stem, code, header)


def outcome(verdict: Verdict) -> str:
    """``accepted``, ``slower`` (accepted, and rightly said to be slower than eager), or the error type."""
    if verdict.error_type is not None:
        return verdict.error_type.value
    return SLOWER if verdict.timings and verdict.speedup < 1.0 else "accepted"


def complaints(attack: CandidateFile, verdict: Verdict) -> list[str]:
    """What is wrong with how an attack ended; empty if it failed for the reasons that its header allows."""
    ended, screened = outcome(verdict), attack.screened()
    expected, behind = attack.named("expect"), attack.named("behind the screen")
    found = []
    if screened and not behind:
        found.append(f"the screen says {screened}, and the header does not say what lies behind the screen")
    if (screened or ended) not in expected:
        found.append(f"a user sees {screened or ended}, expected {sorted(expected)}")
    if behind and ended not in behind:
        found.append(f"behind the screen: {ended} ({verdict.error[:200]}), expected {sorted(behind)}")
    return found
