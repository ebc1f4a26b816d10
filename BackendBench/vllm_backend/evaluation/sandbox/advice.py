"""What to say, once and loudly, where the walls around candidates are weaker than they should be. Pure."""

from __future__ import annotations

from .probe import Layers
from .spec import STRONGEST


class SandboxTooWeak(Exception):
    """The strongest layers are missing and ``--require-sandbox`` asks for them. One line."""


def warning(layers: Layers, required: bool = False) -> str:
    """One line where a strong layer is missing, else ''. Raises SandboxTooWeak if they are ``required``."""
    missing = sorted(STRONGEST - set(layers.active))
    if not missing:
        return ""
    reasons = "; ".join(f"{name} ({layers.missing.get(name, 'not tried')})" for name in missing)
    mends = layers.mend()
    if required:
        raise SandboxTooWeak(f"--require-sandbox: this machine lacks {reasons}. {mends}")
    return f"WARNING: candidates run behind a weak sandbox, without {reasons}. {mends}"
