"""Every choice of one derivation, drawn by name.

- The same generator, the same choices: nothing else is random in this package.
- A hint makes an option likelier, a forced option is taken where it is on offer; both leave the others as they are.
- Greedy (temperature 0): the likeliest option, the first one of equals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import TypeVar

T = TypeVar("T", str, int)
HINT_FACTOR = 3.0
"""How much likelier an option becomes that a shown exemplar uses: it leads, and the others stay in play."""


class Choices:
    """See the module's docstring. ``made`` holds what was chosen, by name."""

    def __init__(
        self,
        rng: Random,
        hints: Mapping[str, str | int] | None = None,
        forced: Mapping[str, str | int] | None = None,
        greedy: bool = False,
    ) -> None:
        self._rng = rng
        self._hints = dict(hints or {})
        self._forced = dict(forced or {})
        self._greedy = greedy
        self.made: dict[str, str | int] = {}
        self.offered: dict[str, tuple[str | int, ...]] = {}

    def pick(self, name: str, options: Mapping[T, float] | Iterable[T]) -> T:
        """One of the options: a mapping gives weights, a list equal ones. Asked twice by a name: the same answer."""
        weights = dict(options) if isinstance(options, Mapping) else dict.fromkeys(options, 1.0)
        made = self.made.get(name)
        for option in weights:
            if option == made:
                return option
        chosen = self._choose(name, weights)
        self.made[name] = chosen
        self.offered[name] = tuple(weights)
        return chosen

    def _choose(self, name: str, weights: dict[T, float]) -> T:
        point = self._rng.random()
        for option in weights:
            if option == self._forced.get(name):
                return option
            if option == self._hints.get(name):
                weights[option] *= HINT_FACTOR
        if self._greedy:
            return max(weights, key=weights.__getitem__)
        point *= sum(weights.values())
        for option, weight in weights.items():
            point -= weight
            if point < 0:
                return option
        return next(reversed(weights))
