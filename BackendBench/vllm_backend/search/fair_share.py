"""Who is asked next, when several operations want candidates. Pure.

- The operation that has been asked for the smallest part of its budget comes first; at a tie, the order of the run.
- Nobody gets more than its budget, all together not more than the capacity, a group not more than its size.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from .policy import OperationProgress


def shares(
    progress: Sequence[OperationProgress], capacity: int, group_size: int
) -> Iterator[tuple[OperationProgress, int, int]]:
    """(operation, candidates of the group, how many groups of it were given before), group after group."""
    given = [0] * len(progress)
    groups = [0] * len(progress)

    def spent(i: int) -> float:
        return (progress[i].requested + given[i]) / max(1, progress[i].budget)

    heap = [(spent(i), i) for i, one in enumerate(progress) if one.remaining > 0]
    heapq.heapify(heap)
    while heap and capacity > 0:
        _, i = heapq.heappop(heap)
        n = min(group_size, capacity, progress[i].remaining - given[i])
        if n <= 0:
            continue
        yield progress[i], n, groups[i]
        given[i] += n
        groups[i] += 1
        capacity -= n
        heapq.heappush(heap, (spent(i), i))
