"""How many requests one endpoint gets at a time. A pure state machine: it owns no task and no clock.

- Additive increase: each success at the limit raises it by one until the first overload, afterwards by one per
  round of as many successes as the limit.
- Multiplicative decrease: an overload (429, 5xx, a time-out, a broken connection) cuts it. A burst of overloads
  is one: only requests that were started after the last cut can cause the next.
- A limit that is not used says nothing and does not rise.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_LIMIT = 8.0
"""Requests: enough to see within a second whether an endpoint takes more, few enough not to flood a small one."""
LOWEST_LIMIT = 1.0
HIGHEST_LIMIT = 512.0
"""A group is one request: 512 groups of eight are more sequences than any one engine runs at a time."""
CUT = 0.5
"""After an overload. Halving empties a queue that doubled, and the increase regains it in one more round."""


@dataclass(frozen=True)
class Ticket:
    """One request that is under way."""

    epoch: int
    at_limit: bool


class AdaptiveConcurrency:
    """See the module's docstring."""

    def __init__(self, first: float = FIRST_LIMIT, highest: float = HIGHEST_LIMIT) -> None:
        self._limit = min(max(first, LOWEST_LIMIT), highest)
        self._highest = highest
        self._epoch = 0
        self._doubling = True
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Requests that may be under way."""
        return int(self._limit)

    @property
    def room(self) -> int:
        """Requests that may be started now."""
        return max(0, self.limit - self.in_flight)

    @property
    def load(self) -> float:
        """Share of the limit that is in use; compares endpoints of different size."""
        return self.in_flight / self.limit

    def start(self) -> Ticket:
        """A request begins. Its ticket goes to exactly one of the methods below."""
        self.in_flight += 1
        return Ticket(self._epoch, self.in_flight >= self.limit)

    def succeeded(self, ticket: Ticket) -> None:
        """It was answered."""
        self.in_flight -= 1
        if ticket.at_limit:
            step = 1.0 if self._doubling else 1.0 / self._limit
            self._limit = min(self._highest, self._limit + step)

    def overloaded(self, ticket: Ticket) -> None:
        """The endpoint said that it is too much, or did not answer."""
        self.in_flight -= 1
        if ticket.epoch == self._epoch:
            self._epoch += 1
            self._doubling = False
            self._limit = max(LOWEST_LIMIT, self._limit * CUT)

    def dropped(self, ticket: Ticket) -> None:
        """It ended without saying anything of the load: aborted, or refused for what it asks."""
        self.in_flight -= 1
