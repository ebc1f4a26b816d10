"""``backendbench-vllm``: the command line. One file a family of commands; each is loaded when it is used.

- Every command that prints data takes ``--json``.
- Exit codes: 0 done; 1 the answer is no (rejected, something missing, a run that failed); 2 bad input, one line
  that says what and what to do; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from . import errors

COMMANDS = {
    "run": ("run", "Generate, judge and keep kernels: the main job."),
    "evaluate": ("evaluate", "Judge one kernel file."),
    "status": ("live", "Queues, workers and rates now."),
    "stop": ("live", "Ask a run, or one worker, to finish and leave."),
    "stats": ("kernels", "What is known of an operation."),
    "best": ("kernels", "The best kernels of an operation."),
    "export": ("kernels", "Write the best kernels as files for BackendBench."),
    "report": ("report", "Write and print the report of a run again."),
    "operations": ("operations", "Names of all operations."),
    "worker": ("worker", "One worker by hand, on any machine that reaches Redis."),
    "doctor": ("doctor", "What this machine has, what is missing, and how to mend it."),
}
"""Command to (module of this package, short help)."""


class LazyGroup(click.Group):
    """Loads a command's module when the command is used: ``--help`` and ``stats`` need no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{COMMANDS[cmd_name][0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="backendbench-vllm")
def backendbench_vllm() -> None:
    """A kernel farm: a language model writes kernels for PyTorch operations, isolated workers judge them,
    the best are kept.

    \b
      backendbench-vllm run                                  seven operations, what this machine has
      backendbench-vllm run --operations relu,softmax --candidates-per-op 100
      backendbench-vllm evaluate my_relu.py --operation relu
      backendbench-vllm best relu --code
      backendbench-vllm doctor

    Every setting is a flag, an environment variable BACKENDBENCH_<NAME> and a key of a YAML file (--config).
    """


def main(arguments: Sequence[str] | None = None, program: str = "backendbench-vllm") -> int:
    """Run a command; returns the exit code. Never raises for what a user can mend."""
    try:
        result = backendbench_vllm.main(
            list(sys.argv[1:] if arguments is None else arguments), prog_name=program, standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        return errors.reader_left()
    except (KeyboardInterrupt, click.Abort):
        return errors.INTERRUPTED_EXIT
    except Exception as error:
        line = errors.explain(error)
        if line is None or os.environ.get("BACKENDBENCH_DEBUG"):
            raise
        click.echo(errors.one_line(line), err=True)
        return errors.BAD_INPUT_EXIT
