"""How numbers are written for people: one way for terminal, Markdown and HTML. Pure.

What was not measured is ``–``, never a zero.
"""

from __future__ import annotations

import time

NOTHING = "–"


def count(number: int | None) -> str:
    """``1,234``."""
    return NOTHING if number is None else f"{number:,}"


def decimal(number: float | None, digits: int = 3) -> str:
    """``digits`` significant digits, no exponent: ``0.0123``, ``12.3``, ``1,230``."""
    if number is None:
        return NOTHING
    if number == 0:
        return "0"
    if abs(number) >= 10 ** (digits - 1):
        return f"{number:,.0f}"
    text = f"{number:.{digits}g}"
    return f"{float(text):f}".rstrip("0") if "e" in text else text


def seconds(number: float | None) -> str:
    """``0.021 s``, ``12.3 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if number is None:
        return NOTHING
    if number < 100:
        return f"{decimal(number)} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(number / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def speedup(number: float | None) -> str:
    """``1.23×``; nothing for what was not timed."""
    return NOTHING if not number else f"{number:.2f}×" if number >= 0.995 else f"{number:.3f}×"


def interval(low: float, high: float) -> str:
    """``[1.200, 1.260]``; an end close to 1 has as many decimals as show on which side it lies."""
    return NOTHING if not high else f"[{_end(low)}, {_end(high)}]"


def _end(bound: float) -> str:
    digits = 3
    while digits < 9 and bound != 1 and float(f"{bound:.{digits}f}") == 1:
        digits += 1
    return f"{bound:.{digits}f}"


def against_eager(low: float, high: float) -> str:
    """What the 95 % interval says; nothing more is claimed."""
    if not high:
        return "not timed"
    if low > 1:
        return "faster"
    return "slower" if high < 1 else "undecided"


def share(part: float, whole: float) -> str:
    """``12 %``."""
    if whole <= 0:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def moment(epoch: float | None) -> str:
    """Date and time, UTC."""
    return NOTHING if epoch is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))


def plain(name: str) -> str:
    """``wrong_values`` as people write it."""
    return name.replace("_", " ")


def listed(counts: dict[str, int], limit: int = 6) -> str:
    """``wrong values 3, timeout 1``; what is left over is counted."""
    shown = [f"{plain(name)} {count(n)}" for name, n in list(counts.items())[:limit]]
    if len(counts) > limit:
        shown.append(f"{len(counts) - limit} more")
    return ", ".join(shown) or NOTHING
