"""Progress on real streams: a terminal, a pipe, a reader that left, a Redis that is away."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
import redis

from BackendBench.vllm_backend.fleet.pacing import Goal
from BackendBench.vllm_backend.monitor import progress
from BackendBench.vllm_backend.monitor.report.collect import collect
from BackendBench.vllm_backend.monitor.report.source import read
from BackendBench.vllm_backend.monitor.screen import Patient, Screen
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.server import PrivateServer
from tests.monitor.books import RUN, small_run

GOAL = Goal(candidates_per_op=6)


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def drain(descriptor: int, parts: list[bytes]) -> None:
    """Read a terminal until its other side is closed."""
    with contextlib.suppress(OSError):
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_pipe_gets_plain_lines_and_the_news(redis_client: redis.Redis) -> None:
    out, runs = io.StringIO(), RunStore(redis_client)
    runs.create("before", ["relu"], {})
    with progress.shown(Screen(out, io.StringIO()), redis_client, RUN, GOAL) as shown:
        shown.on_tick([])
        small_run(redis_client)
        fresh = [type(c)(c.operation) for c in runs.counters(RUN)]
        shown.on_tick(fresh)
        shown.on_tick(runs.counters(RUN))
        shown.phase = "stopped: workers finish what they hold"
    text = lines(out)
    assert any(re.fullmatch(r"\[0:0\d\] relu: first correct kernel, after 4 evaluated", one) for one in text)
    assert "8/18 generated, 6 evaluated, 2 correct, 1 faster" in text[-1]
    assert "stopped: workers finish" in text[-1] and "best: relu 1.50×" in text[-1]
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_a_table_and_its_cursor_back(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("LINES", "40")
    small_run(redis_client)
    ours, theirs = pty.openpty()
    parts: list[bytes] = []
    reader = threading.Thread(target=drain, args=(ours, parts))
    reader.start()
    with os.fdopen(theirs, "w") as terminal:
        screen = Screen(terminal, io.StringIO())
        with progress.shown(screen, redis_client, RUN, GOAL) as shown:
            shown.on_tick(RunStore(redis_client).counters(RUN))
            assert eventually(lambda: shown.view().around.eval_queue is not None)
            screen.say("a remark")
    reader.join(30)
    os.close(ours)
    seen = b"".join(parts).decode()
    assert "a remark" in seen and "operation" in seen
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)
    row = plain.split("relu")[-1].splitlines()[0]
    assert re.search(r"6/6\s+4\s+2\s+1\s+1\.50×\s+\[1\.400, 1\.625\]", row), row
    assert "queues: 3 groups, 6 candidates" in plain
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")  # the cursor is shown again


def test_a_reader_that_left_ends_nothing(redis_client: redis.Redis) -> None:
    small_run(redis_client)
    reading, writing = os.pipe()
    os.close(reading)
    stream: TextIO = os.fdopen(writing, "w")
    screen = Screen(stream, io.StringIO())
    with progress.shown(screen, redis_client, RUN, GOAL) as shown:
        shown.on_tick(RunStore(redis_client).counters(RUN))
        for number in range(100):
            screen.say(f"remark {number}")
    screen.report(collect(read(redis_client, RUN, alive=True)), Path("x"))
    assert screen.progress.file.gone  # type: ignore[attr-defined]
    stream.close()  # flushes into nothing


def test_a_closed_stream_falls_silent() -> None:
    stream = io.StringIO()
    patient = Patient(stream)
    stream.close()
    assert patient.write("text") == 4
    assert patient.gone


def test_a_redis_that_is_away_is_told_and_waited_for(tmp_path: Path) -> None:
    out = io.StringIO()
    with PrivateServer(tmp_path / "redis") as server, connect(server.url) as client:
        small_run(client)
        with progress.shown(Screen(out, io.StringIO()), client, RUN, GOAL) as shown:
            shown.on_tick(RunStore(client).counters(RUN))
            assert eventually(lambda: shown.view().around.eval_queue is not None)
            server.stop()
            assert eventually(lambda: shown.view().around.silent_seconds > 3)
            assert shown.view().rows[0].generated == 6  # what was known is still shown
    assert "Redis has not answered for" in lines(out)[-1]


def test_without_ticks_the_counters_are_read(redis_client: redis.Redis) -> None:
    small_run(redis_client)
    with progress.shown(Screen(io.StringIO(), io.StringIO()), redis_client, RUN, GOAL) as shown:
        assert eventually(lambda: [row.evaluated for row in shown.view().rows] == [4, 2, 0])


def test_quiet_shows_the_report_and_what_went_wrong_only(redis_client: redis.Redis) -> None:
    small_run(redis_client)
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err, quiet=True)
    with progress.shown(screen, redis_client, RUN, GOAL) as shown:
        shown.on_tick(RunStore(redis_client).counters(RUN))
        screen.say("a remark")
    assert out.getvalue() == err.getvalue() == ""
    screen.warn("it went wrong")
    assert err.getvalue() == "it went wrong\n"
    screen.report(collect(read(redis_client, RUN, alive=True)), Path("x"))
    assert "Failures by class" in out.getvalue() and "a remark" not in out.getvalue()


def test_json_leaves_standard_output_to_the_report(redis_client: redis.Redis) -> None:
    small_run(redis_client)
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err, as_json=True)
    with progress.shown(screen, redis_client, RUN, GOAL) as shown:
        shown.on_tick(RunStore(redis_client).counters(RUN))
        screen.say("a remark")
    screen.report(collect(read(redis_client, RUN, alive=True)), Path("x"))
    assert json.loads(out.getvalue())["counts"]["evaluated"] == 6
    assert "a remark" in err.getvalue() and "6 evaluated" in err.getvalue()


def test_the_report_on_a_pipe_is_readable(redis_client: redis.Redis) -> None:
    small_run(redis_client)
    out = io.StringIO()
    Screen(out, io.StringIO()).report(collect(read(redis_client, RUN, alive=True)), Path("runs/x"))
    text = out.getvalue()
    for word in (
        "Candidates",
        "Operations",
        "Failures by class",
        "Cost",
        "Where evaluation time went",
        "Conditions",
    ):
        assert word in text
    assert "No language model" in text
    assert "runs/x/report.html" in lines(out)[-1]
    assert "\x1b" not in text
