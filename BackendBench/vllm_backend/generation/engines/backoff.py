"""How long to wait before the next attempt. Pure.

- The pause doubles from attempt to attempt and is drawn at random from its upper half, so that clients that
  failed together do not come back together.
- A server that says when to come back (Retry-After) is obeyed, within reason.
"""

from __future__ import annotations

import email.utils
import math
from random import Random

FIRST_SECONDS = 0.5
"""A load balancer that switches servers is done in less."""
LONGEST_SECONDS = 30.0
LONGEST_RETRY_AFTER = 120.0
"""A server that wants more is not waited for in one piece."""


def pause(attempt: int, rng: Random, retry_after: float | None = None) -> float:
    """Seconds before attempt ``attempt`` + 1; ``attempt`` counts from 1."""
    top = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 30))
    drawn = rng.uniform(top / 2, top)
    if retry_after is None:
        return drawn
    # Obeyed, and spread a little: everybody was told the same.
    return min(LONGEST_RETRY_AFTER, retry_after) + drawn / 4


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header: a number, or a date against ``now`` (seconds since the epoch)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
