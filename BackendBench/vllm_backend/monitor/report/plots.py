"""The plots of the report as PNG images. Drawing only: what they show is in ``Report``.

- No pyplot: figures are objects of their own, so that no global state and no display is involved.
- A plot without data is left out.
- At most ``MOST_LINES`` operations and ``MOST_CLASSES`` classes have a colour of their own; the caption says how
  many are not told apart.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from .. import words
from .model import Report, Step

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B4FA3", "#8C613C", "#4D4D4D", "#B2AA00",
)  # fmt: skip
"""Okabe and Ito's colours, told apart by the colour-blind, and three more; without yellow, too faint on white."""
GREY, INK = "#b8c2cc", "#1c2733"
CORRECT = "#1a7f4b"
MOST_LINES = len(COLOURS)
MOST_CLASSES = 8
MOST_BARS = 24
"""Operations with a bar of their own; more make labels that nobody can read."""
TENTHS = [round(0.5 + 0.1 * i, 1) for i in range(16)]
QUARTERS = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0]
MOST_TICKS = 9
DPI = 160
WIDTH = 11.0
"""Inches; the page shows 1,130 pixels, so that text keeps the size of the page's own."""


@dataclass(frozen=True)
class Plot:
    """One image."""

    png: str
    """base64."""
    alt: str
    caption: str


def draw(report: Report) -> dict[str, Plot]:
    """The plots for which there is something to show, by name."""
    makers: dict[str, Callable[[Report], Plot | None]] = {
        "speedup": speedup, "progress": progress, "failures": failures, "stages": stages,
    }  # fmt: skip
    made = {name: make(report) for name, make in makers.items()}
    return {name: plot for name, plot in made.items() if plot is not None}


def speedup(report: Report) -> Plot | None:
    """The best speedup of each operation over time, each new best with its interval."""
    lines = {name: steps for name, steps in report.timeline.best.items() if steps}
    if not lines:
        return None
    ordered = sorted(lines.items(), key=lambda item: -item[1][-1].speedup)
    figure, axes = _figure(4.4)
    unit, name = _time_unit(report.work_seconds)
    for place, (_, steps) in reversed(list(enumerate(ordered))):
        _line(axes, steps, report.work_seconds, unit, COLOURS[place] if place < MOST_LINES else GREY)
    _end_labels(axes, ordered[:MOST_LINES], report.work_seconds / unit)
    axes.axhline(1.0, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("eager", (0, 1), xytext=(4, 3), textcoords="offset points", color=INK, fontsize=9)
    _log_axis(axes, [s for _, steps in ordered for s in steps])
    axes.set_xlim(0, max(report.work_seconds, ordered[0][1][-1].after) / unit)
    axes.set_xlabel(f"{name} of work since the start")
    axes.set_ylabel("speedup over eager")
    rest = len(ordered) - MOST_LINES
    hidden = f" {rest} operations with lower speedups are grey." if rest > 0 else ""
    caption = (
        "Each point is a new best kernel, with the 95 % interval of its measurement. A point whose interval reaches "
        f"below the dashed line is not known to be faster than eager.{hidden}"
    )
    return _plot(figure, "best speedup over time by operation", caption)


def progress(report: Report) -> Plot | None:
    """Generated, evaluated and correct candidates over time."""
    moments = report.timeline.moments
    if len(moments) < 2:
        return None
    figure, axes = _figure(3.4)
    unit, name = _time_unit(report.work_seconds)
    times = [m.after / unit for m in moments]
    curves = {
        "generated": ([m.generated for m in moments], GREY),
        "evaluated": ([m.evaluated for m in moments], COLOURS[0]),
        "correct": ([m.correct for m in moments], CORRECT),
    }
    for label, (values, colour) in curves.items():
        axes.step(times, values, where="post", color=colour, linewidth=2, label=f"{label} ({values[-1]:,})")
    axes.set_xlim(0, times[-1] or 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel(f"{name} of work since the start")
    axes.set_ylabel("candidates")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)
    cut = (
        ""
        if report.timeline.complete
        else " The oldest events of this run are not kept: the curves begin after them."
    )
    return _plot(figure, "candidates over time", f"Duplicates and unusable samples are never evaluated.{cut}")


def failures(report: Report) -> Plot | None:
    """What became of the evaluated kernels of each operation."""
    judged = [o for o in report.operations if o.counts.evaluated]
    if not judged:
        return None
    shown = (
        judged if len(judged) <= MOST_BARS else sorted(judged, key=lambda o: -o.counts.evaluated)[:MOST_BARS]
    )
    classes = list(report.failures)[:MOST_CLASSES]
    # Tall enough for its rows and for its legend.
    figure, axes = _figure(
        max(0.9 + 0.34 * len(shown), 0.5 + 0.24 * (min(len(report.failures), MOST_CLASSES) + 2))
    )
    names = [o.operation for o in shown]
    parts = [("correct", CORRECT, [o.counts.correct for o in shown])]
    palette = [c for c in COLOURS if c != "#009E73"]  # too close to the green of correct
    for place, failure in enumerate(classes):
        parts.append((words.plain(failure), palette[place], [o.failures.get(failure, 0) for o in shown]))
    if len(report.failures) > MOST_CLASSES:
        rest = [sum(n for c, n in o.failures.items() if c not in classes) for o in shown]
        parts.append((f"{len(report.failures) - MOST_CLASSES} other classes", GREY, rest))
    left = [0] * len(shown)
    for label, colour, values in parts:
        axes.barh(
            names, values, left=left, color=colour, label=label, height=0.7, edgecolor="white", linewidth=0.6
        )
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("evaluated kernels")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)
    hidden = len(judged) - len(shown)
    caption = f"{hidden} operations with fewer evaluated kernels are left out." if hidden else ""
    return _plot(figure, "evaluated kernels by outcome and operation", caption)


def stages(report: Report) -> Plot | None:
    """Seconds of evaluation by stage."""
    total = sum(report.stage_seconds.values())
    if total <= 0:
        return None
    figure, axes = _figure(1.0 + 0.32 * len(report.stage_seconds))
    names = [words.plain(name) for name in report.stage_seconds]
    values = list(report.stage_seconds.values())
    bars = axes.barh(names, values, color=COLOURS[0], height=0.7)
    labels = [f"{words.seconds(v)}  ({words.share(v, total)})" for v in values]
    axes.bar_label(bars, labels, padding=5, fontsize=9, color=INK)
    axes.set_xlim(0, max(values) * 1.18)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds, summed over candidates")
    return _plot(figure, "evaluation seconds by stage", "")


# -- parts ----------------------------------------------------------------------------------------------------------
def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.grid(color="#e8edf1", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    return figure, axes


def _line(axes: Axes, steps: tuple[Step, ...], end: float, unit: float, colour: str) -> None:
    times = [s.after / unit for s in steps]
    values = [s.speedup for s in steps]
    axes.step(
        [*times, end / unit], [*values, values[-1]], where="post", color=colour, linewidth=1.8, zorder=2
    )
    low = [max(0.0, s.speedup - s.speedup_low) for s in steps]
    high = [max(0.0, s.speedup_high - s.speedup) for s in steps]
    axes.errorbar(
        times,
        values,
        yerr=[low, high],
        fmt="o",
        markersize=4,
        color=colour,
        elinewidth=1.4,
        capsize=3,
        zorder=3,
    )


def _end_labels(axes: Axes, ordered: list[tuple[str, tuple[Step, ...]]], end: float) -> None:
    """Names at the right, each beside its line, or in a column below one another where lines lie close."""
    handles = [axes.plot([], [], color=COLOURS[i], linewidth=2)[0] for i in range(len(ordered))]
    labels = [
        f"{name}  {words.speedup(steps[-1].speedup)}  "
        f"{words.interval(steps[-1].speedup_low, steps[-1].speedup_high)}"
        for name, steps in ordered
    ]
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=9)


def _log_axis(axes: Axes, steps: list[Step]) -> None:
    """Twice as fast and half as fast lie equally far from eager."""
    axes.set_yscale("log", base=2)
    lowest = min(1.0, *(s.speedup_low for s in steps if s.speedup_low > 0), *(s.speedup for s in steps))
    highest = max(1.0, *(s.speedup_high for s in steps))
    axes.set_ylim(lowest / 1.15, highest * 1.15)
    axes.yaxis.set_major_locator(FixedLocator(speedup_ticks(lowest / 1.15, highest * 1.15)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.yaxis.set_minor_locator(NullLocator())


def speedup_ticks(low: float, high: float) -> list[float]:
    """Round numbers between the bounds: powers of two where the range is wide, finer ones where it is not."""
    for ladder in (TENTHS, QUARTERS, [2.0**power for power in range(-20, 21)]):
        inside = [tick for tick in ladder if low <= tick <= high]
        if len(inside) <= MOST_TICKS and ladder[0] <= low and high <= ladder[-1]:
            break
    return inside


def _time_unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")


def _plot(figure: Figure, alt: str, caption: str) -> Plot:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Plot(base64.b64encode(buffer.getvalue()).decode(), alt, caption)
