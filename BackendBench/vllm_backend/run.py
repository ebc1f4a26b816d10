"""The main job: check everything, start what is needed, generate and judge until done, report, leave nothing.

- ``prepare`` finds what cannot work before anything exists. After it come, in this order and undone in the
  reverse one: run directory, Redis, workers.
- Ctrl-C (or SIGTERM, or the terminal's end) drains: workers finish what they hold, the rest is set aside for a
  resume, the report is written. A second one kills.
- ``resume`` goes on with the same run id, the same Redis and the same directory; the workers' unfinished tasks
  go back to the queues without blame.
- Exit codes: 0 finished or out of time, 1 failed, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import redis
import structlog

from .config import ConfigError, RunConfig, public
from .fleet import pacing, private_redis, worker_specs
from .fleet.coordinator import Coordinator, Ending, Plan
from .fleet.local import LocalFleet, WorkerSpec
from .fleet.logs import configure
from .fleet.preparation import Prepared, prepare
from .fleet.private_redis import UsedRedis
from .fleet.run_directory import RunDirectory, RunRecord, lives
from .monitor import progress
from .monitor.report.source import UnknownRun
from .monitor.report.write import report_run
from .monitor.screen import Screen
from .search.registry import make_policy
from .state.connection import connect, typed_errors
from .state.run_state import RunStore
from .state.store import KernelStore
from .state.worker_registry import WorkerRegistry

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED_EXIT = 130
EARLIER_RUNS = 100
"""Runs looked at for tasks that a killed one left in the queues."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Job:
    """A run whose directory and Redis are there."""

    prepared: Prepared
    directory: RunDirectory
    used: UsedRedis
    run: str
    resumed: bool


def run(config: RunConfig, screen: Screen, resume: Path | None = None) -> int:
    """Do the main job; returns the exit code.

    Raises ConfigError, LayoutError, EngineConfigError, RedisUnreachable, RedisReadOnly, ServerError,
    UnknownOperation: always before a worker was started.
    """
    prepared = prepare(config)
    with contextlib.ExitStack() as stack:
        directory = _directory(prepared, resume)
        stack.callback(directory.close)
        used = _redis(prepared.config, directory, resumed=resume is not None)
        stack.callback(used.close)
        with typed_errors(used.url):
            job = _enter(prepared, directory, used, resume)
        say_plan(job, screen)
        log_file = stack.enter_context((directory.logs / "run.log").open("a", encoding="utf-8"))
        configure(log_file)
        return asyncio.run(_work(job, screen))


# -- before the workers -----------------------------------------------------------------------------------
def _directory(prepared: Prepared, resume: Path | None) -> RunDirectory:
    return RunDirectory.reopen(resume) if resume else RunDirectory.create(prepared.config, prepared.names)


def _redis(config: RunConfig, directory: RunDirectory, *, resumed: bool) -> UsedRedis:
    """The Redis of the run; a new directory is taken away again when there is none."""
    try:
        if resumed:
            record = directory.read_record()
            if record.redis == "private":
                return private_redis.open_private(Path(record.redis_directory))
        own = None if config.run_dir is None else config.run_dir
        return private_redis.open_redis(config, own or config.runs_dir)
    except BaseException:
        if not resumed:
            directory.discard()
        raise


def _enter(prepared: Prepared, directory: RunDirectory, used: UsedRedis, resume: Path | None) -> Job:
    """Write the run into Redis and its directory."""
    with connect(used.url) as client:
        runs = RunStore(client)
        if resume:
            run = directory.read_record().run
            _go_on(prepared, runs, run, used)
        else:
            run = (
                directory.name
                if runs.get(directory.name) is None
                else f"{directory.name}-{uuid.uuid4().hex[:6]}"
            )
            runs.create(run, prepared.names, _stored(prepared, directory))
            data = used.server.directory if used.server else None
            directory.write_record(RunRecord(run, used.origin, str(data or "")))
            if data:
                directory.link_redis(data)
        directory.write_config(prepared.config)
        _park_dead_runs(runs, run)
        store = KernelStore(client=client)
        for operation in prepared.operations:
            if operation.source:
                store.set_operation_source(operation.name, operation.source)
        WorkerRegistry(client).clear_shutdown(run)
    return Job(prepared, directory, used, run, resume is not None)


def _go_on(prepared: Prepared, runs: RunStore, run: str, used: UsedRedis) -> None:
    known = runs.get(run)
    if known is None:
        raise ConfigError(f"{used.description} knows no run {run}: give the Redis that it was started with")
    if known.operations != prepared.names:
        raise ConfigError(
            f"a resumed run keeps its operations ({','.join(known.operations)}): drop --operations"
        )
    runs.set_config(run, {**known.config, **public(prepared.config), "run_dir": known.config.get("run_dir")})
    runs.unpark(run)
    runs.set_status(run, "running")
    runs.add_event(run, "resumed")


def _stored(prepared: Prepared, directory: RunDirectory) -> dict[str, object]:
    """What Redis knows of the settings; the directory and host tell later whether the run lives."""
    place = {"run_dir": str(directory.path), "host": socket.gethostname()}
    return {
        **public(prepared.config),
        **place,
        "engine": prepared.engine.name,
        "target": prepared.layout.target,
    }


def _park_dead_runs(runs: RunStore, ours: str) -> None:
    """Tasks that a killed run of this machine left in the queues must not delay this one."""
    for run in runs.latest(EARLIER_RUNS):
        known = runs.get(run) if run != ours else None
        if known is None or known.status != "running" or known.config.get("host") != socket.gethostname():
            continue
        if not lives(Path(str(known.config.get("run_dir")))):
            runs.park(run)
            runs.set_status(run, "stopped")


# -- with the workers ---------------------------------------------------------------------------------------
async def _work(job: Job, screen: Screen) -> int:
    config = job.prepared.config
    with connect(job.used.url) as client:

        async def on_death(spec: WorkerSpec, code: int) -> None:
            await coordinator.worker_died(spec, code)

        fleet = LocalFleet(_specs(job), on_death)
        plan = _plan(job)
        coordinator = Coordinator(plan, client, fleet, job.used.server)
        coordinator.give_back(list(fleet.status), blame=False)
        _listen(coordinator, screen)
        try:
            with progress.shown(screen, client, job.run, plan.goal, plan.deadline) as shown:
                plan.on_tick = shown.on_tick
                fleet.start()
                ending = await coordinator.work()
                shown.phase = f"{ending.status}: workers finish what they hold"
                await coordinator.wind_down(config.drain_seconds)
                await coordinator.settle(ending)
        finally:
            await fleet.kill()
        log.info("run_ended", status=ending.status, reason=ending.reason, restarts=fleet.restarts)
        screen.say(f"run {job.run} {ending.status}: {ending.reason}")
        _report(job, client, screen)
        return _exit_code(ending, coordinator.interrupted)


def _report(job: Job, client: redis.Redis, screen: Screen) -> None:
    """Write and show the report. The run has ended: whatever is wrong here does not change how."""
    path = job.directory.path
    try:
        screen.report(report_run(client, job.run, path, alive=False), path)
    except (redis.RedisError, UnknownRun, OSError) as error:
        log.error("no_report", reason=str(error))
        screen.warn(f"no report was written ({error}); later: backendbench-vllm report {path}")


def _exit_code(ending: Ending, interrupted: bool) -> int:
    if ending.status == "failed":
        return 1
    return INTERRUPTED_EXIT if interrupted and ending.status != "finished" else 0


def _listen(coordinator: Coordinator, screen: Screen) -> None:
    def asked() -> None:
        first = not coordinator.interrupted
        coordinator.interrupt()
        screen.say("finishing what is under way; once more to end at once" if first else "ending at once")

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, asked)


def _plan(job: Job) -> Plan:
    config, prepared = job.prepared.config, job.prepared
    sampling, minutes = prepared.sampling, config.max_minutes
    return Plan(
        run=job.run,
        policy=make_policy(config.policy),
        goal=pacing.Goal(config.candidates_per_op, config.target_speedup),
        sampling=pacing.Sampling(
            run=job.run, policy=config.policy, dsl=prepared.dsl, target=prepared.layout.target, seed=config.seed or 0,
            temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_tokens,
        ),
        group_size=config.group_size,
        generators=len(prepared.layout.generators),
        engine=prepared.engine.name,
        deadline=None if minutes is None else time.monotonic() + 60 * minutes,
    )  # fmt: skip


def _specs(job: Job) -> list[WorkerSpec]:
    prepared, url, logs = job.prepared, job.used.url, job.directory.logs
    layout, gpus = prepared.layout, prepared.gpus
    evaluators = [
        worker_specs.evaluator(
            job.run, i, one, gpus, layout.target, prepared.config.judge, url, logs, prepared.names
        )
        for i, one in enumerate(layout.evaluators)
    ]
    quiet = worker_specs.quiet_cores(layout.evaluators, gpus, os.sched_getaffinity(0))
    generators = [
        worker_specs.generator(
            job.run,
            i,
            one,
            gpus,
            prepared.engine_settings(i),
            prepared.config,
            prepared.device_name,
            url,
            logs,
            quiet,
        )
        for i, one in enumerate(layout.generators)
    ]
    return [*evaluators, *generators]


def say_plan(job: Job, screen: Screen) -> None:
    """What was decided, in words."""
    prepared = job.prepared
    for reason in (prepared.engine.reason, *prepared.notes, *prepared.layout.reasons, job.used.description):
        screen.say(reason)
    config = prepared.config
    screen.say(
        f"{len(prepared.names)} operations: {', '.join(prepared.names)}; {config.candidates_per_op} candidates each"
    )
    screen.say(f"run {job.run}{' goes on' if job.resumed else ''}: {job.directory.path}")
