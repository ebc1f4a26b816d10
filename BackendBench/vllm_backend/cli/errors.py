"""From the farm's typed errors to one line and an exit code.

- What a user can mend ends as one line that says what and what to do, exit code 2.
- A bug keeps its traceback: it is of no use to the user, but it is what a bug report needs.
"""

from __future__ import annotations

import os
import sys

import click

from ..config import ConfigError
from ..fleet.layout import LayoutError
from ..generation.engines.base import EngineConfigError
from ..state.connection import RedisReadOnly, RedisUnreachable
from ..state.server import ServerError

BAD_INPUT_EXIT = 2
INTERRUPTED_EXIT = 130
USER_ERRORS: tuple[type[Exception], ...] = (
    ConfigError, LayoutError, EngineConfigError, RedisReadOnly, RedisUnreachable, ServerError,
)  # fmt: skip


def explain(error: Exception) -> str | None:
    """The line for an error that a user can mend; None for anything else."""
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, USER_ERRORS):
        return str(error)
    # Only once a command has loaded the catalog can its error occur; loading it here would load torch.
    catalog = sys.modules.get("BackendBench.vllm_backend.operations.catalog")
    if catalog is not None and isinstance(error, catalog.UnknownOperation):
        return str(error)
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith("redis."):
        return f"Redis stopped answering: {error}"
    return None


def _usage(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}: see {context.command_path} --help" if context else text


def one_line(text: str) -> str:
    """The message as it is printed."""
    return "error: " + " ".join(text.split())


def reader_left() -> int:
    """Standard output was closed by its reader (``| head``): no error, and nothing more to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
