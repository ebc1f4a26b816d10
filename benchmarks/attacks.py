"""Runs every attack and every control on this machine's target and says how each of them ended.

    python benchmarks/attacks.py [--target cpu|cuda] [--only WORD] [--out FILE]

Exit code 1 if an attack was accepted or failed for another reason than its header allows, or a control was refused.
Numba and a GPU are not needed by the respective other target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from BackendBench.vllm_backend.evaluation import sandbox
from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.failure import InfrastructureFault
from BackendBench.vllm_backend.state.verdict import Verdict
from tests.adversarial import candidate_files
from tests.adversarial.candidate_files import CandidateFile, Kind


@dataclass(frozen=True)
class Row:
    """How one file ended."""

    kind: str
    name: str
    operation: str
    outcome: str
    """What a user sees: ``accepted`` or an error type."""
    behind: str
    """The same with the screen switched off."""
    seconds: float
    speedup: float
    problem: str
    """Why this is not as it should be; '' if it is."""


GRACE_SECONDS = 0.5
"""From the end of a judge's connection to the end of its process."""


class Judges:
    """A judge, and another one where it ended, as a worker has it. A task whose judge ended is judged once more."""

    def __init__(self, target: str, kind: Kind) -> None:
        self._settings = candidate_files.judge_settings(target, kind)  # type: ignore[arg-type]
        self._client = JudgeClient(self._settings)
        self._starting = asyncio.Lock()

    async def start(self) -> int:
        """Start the first one. Returns how many candidates it likes at a time."""
        await self._client.start()
        return self._client.concurrency

    async def evaluate(self, file: CandidateFile, target: str) -> Verdict:
        """The verdict. Raises InfrastructureFault where even a new judge has none."""
        client = self._client
        try:
            return await client.evaluate(file.task(target))  # type: ignore[arg-type]
        except InfrastructureFault as fault:
            await self._replace(client, f"{file.name}: {fault}")
        return await self._client.evaluate(file.task(target))  # type: ignore[arg-type]

    async def _replace(self, failed: JudgeClient, why: str) -> None:
        async with self._starting:
            await asyncio.sleep(GRACE_SECONDS)
            if failed.alive or failed is not self._client:
                return
            print(f"the judge ended, another one is started ({why})", flush=True)
            await failed.close()
            self._client = JudgeClient(self._settings)
            await self._client.start()

    async def close(self) -> None:
        """End it."""
        await self._client.close()


async def run(kind: Kind, files: list[CandidateFile], target: str) -> tuple[list[Row], Verdict | None]:
    """Judge all files of a kind, as many at once as the judge likes."""
    judges = Judges(target, kind)
    places = asyncio.Semaphore(await judges.start())
    seen: list[Verdict] = []

    async def one(file: CandidateFile) -> Row:
        async with places:
            started = time.monotonic()
            try:
                verdict = await judges.evaluate(file, target)
            except InfrastructureFault as fault:
                row = Row(
                    kind, file.name, file.operation, "not judged", "not judged", 0.0, 0.0, str(fault)[:300]
                )
            else:
                seen.append(verdict)
                row = _row(kind, file, verdict, time.monotonic() - started)
            print(_line(row), flush=True)
            return row

    try:
        rows = await asyncio.gather(*(one(file) for file in files))
    finally:
        await judges.close()
    return list(rows), seen[0] if seen else None


def _row(kind: Kind, file: CandidateFile, verdict: Verdict, seconds: float) -> Row:
    ended = candidate_files.outcome(verdict)
    if kind == "attacks":
        problem = "; ".join(candidate_files.complaints(file, verdict))
        screened = file.screened() or ended
    else:
        refused = file.screened()
        problem = f"screen: {refused}" if refused else "" if verdict.correct else verdict.error[:300]
        ended = "accepted" if verdict.correct else ended
        screened = refused or ended
    return Row(kind, file.name, file.operation, screened, ended, round(seconds, 2), verdict.speedup, problem)


def _line(row: Row) -> str:
    behind = "" if row.behind == row.outcome else f"behind the screen: {row.behind}"
    mark = f"  <-- {row.problem}" if row.problem else ""
    return f"{row.kind[:-1]:8} {row.name:44} {row.operation:12} {row.outcome:20} {behind:40} {row.seconds:6.1f} s{mark}"


async def _all(target: str, only: str) -> tuple[list[Row], Verdict | None]:
    rows: list[Row] = []
    verdict = None
    kinds: tuple[Kind, ...] = ("controls", "attacks")
    for kind in kinds:
        files = [f for f in candidate_files.load(kind, target) if only in f.name]  # type: ignore[arg-type]
        for file in (f for f in files if f.lacking()):
            print(f"{kind[:-1]:8} {file.name:44} left out: this machine has no {file.lacking()}")
        files = [f for f in files if not f.lacking()]
        if files:
            done, seen = await run(kind, files, target)
            rows, verdict = rows + done, verdict or seen
    return rows, verdict


def main() -> int:
    """Exit code of the command."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--target", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    given = parser.parse_args()
    started = time.monotonic()
    rows, verdict = asyncio.run(_all(given.target, given.only))
    device = verdict.device if verdict else platform.machine()
    problems = [row for row in rows if row.problem]
    for kind in ("attacks", "controls"):
        mine = [row for row in rows if row.kind == kind]
        good = sum(not row.problem for row in mine)
        print(f"{kind}: {good} of {len(mine)} ended as they should, on {device} ({given.target})")
    print(f"{time.monotonic() - started:.0f} s; sandbox: {sandbox.probe()}")
    for row in problems:
        print(f"PROBLEM {row.kind} {row.name}: {row.problem}")
    if given.out:
        about = {
            "date": time.strftime("%Y-%m-%d"), "command": shlex.join(["python", *sys.argv]),
            "target": given.target, "device": device, "host_python": platform.python_version(),
            "versions": verdict.versions if verdict else {}, "sandbox": str(sandbox.probe()),
            "rows": [asdict(row) for row in rows],
        }  # fmt: skip
        given.out.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
