"""How far a candidate has come with its cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    passed: int = 0
    """Cases so far."""
