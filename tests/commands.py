"""Running the farm's commands as a user does: a process of their own, real output, real exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLI = (sys.executable, "-m", "BackendBench.vllm_backend")
SCRIPT = (sys.executable, str(ROOT / "scripts" / "run_vllm_prototype.py"))


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> bool:
        """One line of error that holds ``words``, exit code 2, no traceback. Asserts, for its messages."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.out + self.err, self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        for word in words:
            assert word in lines[0], lines[0]
        return True


def environment(**more: str) -> dict[str, str]:
    """The environment of a user: this interpreter, this checkout, no setting of the farm."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BACKENDBENCH_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **more}


def farm(
    *arguments: str | Path, cwd: Path, seconds: float = 280, program: tuple[str, ...] = CLI, **more: str
) -> Done:
    """Run ``backendbench-vllm`` (or ``program``) to its end. Its working directory keeps its runs."""
    done = subprocess.run(
        [*program, *map(str, arguments)], cwd=cwd, env=environment(**more), capture_output=True, text=True,
        timeout=seconds, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def start(
    *arguments: str | Path, cwd: Path, program: tuple[str, ...] = CLI, **more: str
) -> subprocess.Popen[str]:
    """Start ``backendbench-vllm`` in a process group of its own; output goes to files in ``cwd``."""
    with (cwd / "out.txt").open("a") as out, (cwd / "err.txt").open("a") as err:
        return subprocess.Popen(
            [*program, *map(str, arguments)], cwd=cwd, env=environment(**more), stdout=out, stderr=err, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
