"""``evaluate``: judge one kernel file, without Redis."""

from __future__ import annotations

import ast
import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import ConfigError, EvaluateFileConfig
from .options import SectionedCommand, resolved, settings

if TYPE_CHECKING:
    from ..operations.operation import Operation
    from ..state.task import Dsl, EvaluationTask, Target
    from ..state.verdict import Verdict

ACCEPTED, REJECTED, NOT_JUDGED = 0, 1, 2


@click.command(cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--operation", "operation_name", metavar="OP", help="Operation, or FILE.py:NAME.")
@click.option(
    "--problem",
    type=click.Path(path_type=Path),
    help="KernelBench problem: a file with Model, get_inputs and get_init_inputs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole verdict as JSON.")
@settings(EvaluateFileConfig)
def evaluate(
    file: Path, operation_name: str | None, problem: Path | None, as_json: bool, **given: Any
) -> int:
    """Judge the kernel in FILE: is it correct, and how fast is it against eager?

    FILE defines <operation>_kernel_impl with the parameters of the operation; for a problem it defines ModelNew
    with the constructor and the forward of Model. It runs isolated, like every candidate of a run.

    \b
      backendbench-vllm evaluate my_relu.py --operation relu
      backendbench-vllm evaluate my_softmax.py --operation softmax --target cuda --json
      backendbench-vllm evaluate my_model.py --problem problem.py

    Exit code 0: accepted; 1: rejected; 2: could not be judged.
    """
    config = resolved(EvaluateFileConfig, given)
    code = _read(file)
    from ..fleet.preparation import sandbox_notes

    operation = _operation(operation_name, problem)
    _check_function(file, code, operation)
    task = _task(code, operation, config)
    for note in sandbox_notes(config.judge.require_sandbox):
        click.echo(note, err=True)
    verdict = asyncio.run(_judge(task, operation, config))
    if as_json:
        click.echo(verdict.model_dump_json(indent=2))
    else:
        _print(verdict)
    return ACCEPTED if verdict.correct else REJECTED


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is no UTF-8 text: give a Python file") from None


def _operation(name: str | None, problem_file: Path | None) -> Operation:
    """What was named. Raises ConfigError, and what is wrong with the name or the file."""
    if (name is None) == (problem_file is None):
        raise ConfigError("name what FILE computes: give either --operation OP or --problem FILE")
    from ..operations import catalog, problem

    return problem.from_problem(problem_file) if problem_file is not None else catalog.resolve(str(name))


def _check_function(file: Path, code: str, operation: Operation) -> None:
    """A file without the function is a slip of the user, not a candidate. Broken syntax is judged as such."""
    wanted = operation.entry
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    if not any(wanted in _bound_names(node) for node in ast.walk(tree)):
        how = f"write class {wanted}(torch.nn.Module) with the constructor and the forward of Model"
        if not operation.adapter:
            how = f"name the kernel's function def {wanted}{operation.signature}"
        raise ConfigError(f"{file} defines no {wanted}: {how}")


def _bound_names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    if isinstance(node, ast.alias):
        return {node.asname or node.name}
    return set()


def _task(code: str, operation: Operation, config: EvaluateFileConfig) -> EvaluationTask:
    from ..state.source import source_hash
    from ..state.task import EvaluationTask

    dsl, target = _dsl_and_target(code, config)
    digest = source_hash(code)
    return EvaluationTask(
        id=f"evaluate:{digest[:16]}", run="evaluate", operation=operation.name, code=code, hash=digest,
        dsl=dsl, target=target, timestamp=time.time(),
    )  # fmt: skip


def _dsl_and_target(code: str, config: EvaluateFileConfig) -> tuple[Dsl, Target]:
    """What was asked for, else what the text uses and the machine has. Raises ConfigError."""
    from ..fleet.devices import visible_gpus
    from ..fleet.preparation import choose_dsl

    gpus = len(visible_gpus())
    wanted = config.dsl if config.dsl != "auto" else _dsl_of(code)
    if config.target == "cuda" and not gpus:
        raise ConfigError("--target cuda needs an NVIDIA GPU and none is visible: use --target cpu")
    if config.target != "auto":
        target: Target = "cuda" if config.target == "cuda" else "cpu"
        return choose_dsl(config.dsl, target), target
    if wanted in ("triton", "cuda") and not gpus:
        raise ConfigError(
            f"a {wanted} kernel needs an NVIDIA GPU and none is visible: judge it on a machine with one"
        )
    target = "cpu" if wanted == "numba" or not gpus else "cuda"
    return choose_dsl(wanted, target), target


def _dsl_of(code: str) -> str:
    if "import triton" in code or "from triton" in code:
        return "triton"
    if "numba" in code:
        return "numba"
    return "cuda" if "cpp_extension" in code else "auto"


async def _judge(task: EvaluationTask, operation: Operation, config: EvaluateFileConfig) -> Verdict:
    from ..evaluation import control
    from ..evaluation.client import JudgeClient
    from ..evaluation.failure import InfrastructureFault

    client = JudgeClient(config.judge.model_copy(update={"target": task.target, "concurrency": 1}))
    try:
        await client.start()
        verdict = await client.evaluate(task, operation.source)
        if verdict.error_type in control.SUSPECT and "spawn" in verdict.stage_seconds:
            await client.vouch()
        return verdict
    except InfrastructureFault as fault:
        raise ConfigError(f"could not judge it: {fault}") from None
    finally:
        await client.close()


def _print(verdict: Verdict) -> None:
    cases = f"{verdict.cases_passed} of {verdict.cases_total} cases passed"
    if not verdict.correct:
        kind = verdict.error_type.value if verdict.error_type else "rejected"
        click.echo(f"rejected: {kind} ({cases})")
        if verdict.failing_case:
            click.echo(f"case: {verdict.failing_case}")
        click.echo(verdict.error)
        return
    label = f", label {verdict.label}" if verdict.label else ""
    click.echo(f"accepted: {cases}{label}")
    for timing in verdict.timings:
        interval = f"[{timing.speedup_low:.3f}, {timing.speedup_high:.3f}]"
        click.echo(
            f"  {timing.speedup:7.3f}x {interval:16} eager {timing.eager_us:10.1f} us, "
            f"kernel {timing.candidate_us:10.1f} us  {timing.workload}"
        )
    if verdict.timings:
        click.echo(f"speedup {verdict.speedup:.3f}x [{verdict.speedup_low:.3f}, {verdict.speedup_high:.3f}] "
                   f"over eager on {verdict.device}")  # fmt: skip
