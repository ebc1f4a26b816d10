"""Policies by name."""

from __future__ import annotations

from .policy import Policy
from .rejection import Rejection
from .reprompt import Reprompt

POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Reprompt, Rejection)}
DEFAULT = Reprompt.name


def make_policy(name: str) -> Policy:
    """A policy by name. Raises ValueError with the names that exist."""
    if name not in POLICIES:
        raise ValueError(f"no policy is called {name!r}: use {' or '.join(POLICIES)}")
    return POLICIES[name]()
