"""How far a candidate has come with its cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .steps import Step, ToCompile


@dataclass
class Progress:
    """What is left to a candidate, waiting for others not counted, and what is not done yet."""

    deadline: float
    """By ``Session.own_time``."""
    compiling: float
    turn: int = 0
    """Secret: with which configuration of an autotuned kernel the first case is run; the next has the next one."""
    compiled: bool = True
    """Whether nothing is left to compile when the cases run."""
    steps: Sequence[Step] = ()
    calls: list[ToCompile] = field(default_factory=list)
    """To be compiled, in the order of the steps."""
    slow: bool = False
    """Whether a kernel of it takes a second and more to compile. By its own word: it only says who compiles first."""
    returned: list[Any] = field(default_factory=list)
    """What the calls that were compiled without a context returned, by the candidate's word; None: it cannot say."""
    passed: int = 0
    """Cases so far."""
