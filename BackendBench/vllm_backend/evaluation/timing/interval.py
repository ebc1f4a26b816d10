"""From timed blocks to a speedup with an interval, and whether more blocks are worth the device's time.

- Pure arithmetic. A *pair* is one block of eager and one block of the candidate, timed one after the other.
- speedup = the trimmed geometric mean of the pairs' own ratios, a block counting as the mean of its calls: drifts of
  clock, temperature and load are common to both halves of a pair and cancel; whoever does the work of a block in its
  first call gains nothing by the others being short.
- The interval is the t-interval of that trimmed mean of logarithms (Yuen 1974: winsorised variance). The ends that are
  trimmed are what something else on the machine did to one half of a pair. What is reported is widened by what differs
  between processes, which shows in no block.
- Screening may stop early; what is reported of a winner comes from a run of fixed length (no optional stopping).
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
MIN_PAIRS = 5
"""Fewer pairs give an interval so wide that it decides nothing (t = 2.8 at 4 degrees of freedom)."""
CLEAR_PAIRS = 3
"""Enough where the whole interval (t = 4.3 at 2 degrees of freedom) says that a kernel is clearly slower or faster."""
MAX_PAIRS = 40
"""Where a ratio has not settled by then, the machine is noisy and more pairs buy little (error falls with sqrt n)."""
PATIENCE_SECONDS = 4.0
"""For the pairs of one workload: a machine that is busy with other things must not hold up everybody. What was
measured by then is reported with the interval that it supports."""
CONFIRM_PAIRS = {"cpu": 15, "cuda": 9}
"""Fixed length of the run that is reported. A GPU's pairs scatter by 0.3 %, so nine leave 0.25 %."""
CLEARLY_SLOWER, CLEARLY_FASTER = 0.95, 1.05
"""A candidate whose whole interval lies below the first will not become a winner by more measuring. Whoever is above
the second on one workload and wins on all together is measured anew; whether he does depends on that interval as well,
so it has to be a narrow one."""
TRIMMED = 0.2
TRIMMED_FROM = 9
"""Share of the pairs left out at either end, from that many pairs on: three of 15, one of nine. On a machine with few
cores, or beside an engine, a fifth of all blocks may be disturbed; fewer than nine pairs are taken only where they
agree to a percent or two."""
PROCESS_US = {"cpu": 0.0, "cuda": 0.055}
PROCESS_SHARE = {"cpu": 0.015, "cuda": 0.0}
"""How much the time of the same kernel differs between processes (standard deviation): microseconds, and a share of it.
On an H200 58 pairs of processes differed by 1.3 % at 5.4 us and by 0.55 % at 12 us, which is 0.050 and 0.047 us on each
side, and a little is added; of 22 the time itself differed by 0.06 us, by their contexts, not by where code and memory
lie. On an H100 twelve processes differed by up to 1.6 % of 5 us. On two cores of an AMD EPYC 79, 96 and 86 % of 28
pairs of processes differed by less than 3 % at 15 us, 0.26 ms and 2 ms, which is 2.4, 1.5 and 2.0 % of a normal
distribution, 1.5 % on each side."""
TIGHT = 0.01
SURE = 0.02
"""Relative half-width at which the interval says all that a reader can use, and where it lies on one side of 1, what is
needed: a winner is measured anew, and of the others nobody asks for the last percent."""


@dataclass(frozen=True)
class Pair:
    """One block on each side: times of single calls, microseconds."""

    eager: Sequence[float]
    candidate: Sequence[float]


@dataclass(frozen=True)
class Ratio:
    """A speedup and its interval."""

    eager_us: float
    candidate_us: float
    speedup: float
    low: float
    high: float
    pairs: int

    @property
    def half_width(self) -> float:
        """Relative half-width of the interval."""
        return (self.high - self.low) / (2 * self.speedup)


def estimate(pairs: Sequence[Pair], confidence: float = CONFIDENCE) -> Ratio:
    """The ratio that these pairs support. Raises ValueError for fewer than two pairs."""
    if len(pairs) < 2:
        raise ValueError("an interval needs at least two pairs")
    eager = statistics.median(statistics.fmean(p.eager) for p in pairs)
    candidate = statistics.median(statistics.fmean(p.candidate) for p in pairs)
    logs = sorted(math.log(statistics.fmean(p.eager) / statistics.fmean(p.candidate)) for p in pairs)
    count = len(logs)
    cut = int(TRIMMED * count) if count >= TRIMMED_FROM else 0
    kept = logs[cut : count - cut]
    centre = statistics.fmean(kept)
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    spread = statistics.stdev(winsorised) / ((1 - 2 * cut / count) * math.sqrt(count))
    margin = student_t(confidence, len(kept) - 1) * spread
    return Ratio(
        eager, candidate, math.exp(centre), math.exp(centre - margin), math.exp(centre + margin), count
    )


def widened(
    ratio: Ratio, process_us: float, process_share: float = 0.0, confidence: float = CONFIDENCE
) -> Ratio:
    """The ratio with what no number of blocks of the same two processes tells: in each process a kernel takes longer or
    shorter by a constant, whose standard deviation is ``process_us`` microseconds and this share of its time."""
    both = math.hypot(
        process_us / ratio.eager_us, process_us / ratio.candidate_us, process_share, process_share
    )
    margin = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * both
    below = math.hypot(math.log(ratio.speedup / ratio.low), margin)
    above = math.hypot(math.log(ratio.high / ratio.speedup), margin)
    return dataclasses.replace(
        ratio, low=ratio.speedup * math.exp(-below), high=ratio.speedup * math.exp(above)
    )


def decisive(pairs: Sequence[Pair]) -> bool:
    """True when the next pair is not worth taking."""
    if len(pairs) < CLEAR_PAIRS:
        return False
    if len(pairs) >= MAX_PAIRS:
        return True
    ratio = estimate(pairs)
    sided = ratio.high < 1.0 or ratio.low > 1.0
    enough = SURE if sided else TIGHT
    clearly_faster = ratio.low > CLEARLY_FASTER and ratio.half_width <= SURE
    settled = len(pairs) >= MIN_PAIRS and ratio.half_width <= enough
    return ratio.high < CLEARLY_SLOWER or clearly_faster or settled


def combine(ratios: Sequence[Ratio]) -> tuple[float, float, float]:
    """Geometric mean over workloads with its interval: (speedup, low, high).

    The workloads' errors are independent, so the variances of the logarithms add.
    """
    count = len(ratios)
    centre = sum(math.log(r.speedup) for r in ratios) / count
    below = math.sqrt(sum(math.log(r.speedup / r.low) ** 2 for r in ratios)) / count
    above = math.sqrt(sum(math.log(r.high / r.speedup) ** 2 for r in ratios)) / count
    return math.exp(centre), math.exp(centre - below), math.exp(centre + above)


def student_t(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t.

    Exact for 1 and 2 degrees of freedom, else the expansion 26.7.5 of Abramowitz and Stegun, whose error is
    below 0.5 % from 3 degrees on at 95 %.
    """
    p = (1 + confidence) / 2
    if degrees == 1:
        return math.tan(math.pi * (p - 0.5))
    if degrees == 2:
        a = 4 * p * (1 - p)
        return 2 * (p - 0.5) * math.sqrt(2 / a)
    z = statistics.NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (i + 1) for i, term in enumerate(terms))
