"""Prompts: text templates (``*.j2``) and the one function that fills them.

- Lines that every user message has, each alone on a line, in this order: ``Operation:``, ``Overload:``, ``DSL:``,
  ``Target:``, ``Signature:``. They come before anything that a model wrote.
- Each kernel shown has ``Speedup: 1.23``, or ``Error class: ...`` and, where known, ``Failing case: ...``, above it.
- The system message depends on the DSL alone, so that an engine computes it once.
"""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...search.policy import PromptContext
from ...state.task import Dsl, Target
from ..engines.base import Prompt
from ..operation_view import OperationView
from .excerpt import excerpt

LONGEST_SHOWN_CODE = 8_000
"""Characters of one kernel in a prompt, some 2,500 tokens; longer ones are cut at a line."""


def compose_prompt(
    operation: OperationView, dsl: Dsl, target: Target, device_name: str, context: PromptContext
) -> Prompt:
    """The prompt for one group of candidates. Pure."""
    values = {
        "operation": operation,
        "dsl": dsl,
        "target": target,
        "device_name": _one_line(device_name),
        "exemplars": context.exemplars,
        "failures": context.failures,
    }
    environment = _environment()
    system = environment.get_template("system.j2").render(dsl=dsl)
    return Prompt(system.strip(), environment.get_template("user.j2").render(values).strip())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__name__, ""),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(excerpt=excerpt, fenced=_fenced, one_line=_one_line)
    return environment


def _fenced(code: str) -> str:
    """A code block whose fence is longer than any run of backticks within."""
    if len(code) > LONGEST_SHOWN_CODE:
        code = code[:LONGEST_SHOWN_CODE].rpartition("\n")[0] + "\n# ... (cut here)"
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{code.strip(chr(10))}\n{fence}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
