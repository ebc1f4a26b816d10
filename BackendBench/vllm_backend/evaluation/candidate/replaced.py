"""Another attribute for a while, of a module or a class of somebody else's. Imports nothing that is slow to load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within this context ``owner`` has another attribute of this name."""
    missing = object()
    before = vars(owner).get(name, missing)  # what a class inherits is not its own
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
