"""A small run whose numbers are known by heart, entered into a real Redis with the farm's own scripts."""

from __future__ import annotations

import redis

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.intake import finish_group, record_unusable
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.verdict import Verdict, WorkloadTiming
from tests.state.samples import accepted, candidate, group, rejected, request, submit

RUN = "the-run"
CONFIG = {
    "engine": "grammar", "target": "cpu", "candidates_per_op": 6, "judge": {"timing": "full"}, "model": None,
}  # fmt: skip
JUDGED = {
    "device": "Some CPU | 2 cores <fast>",
    "versions": {"torch": "2.13.0", "numba": "0.61"},
    "conditions": {"threads": "2", "sandbox": "landlock"},
}
STAGES = {"compile": 0.5, "correctness": 0.25, "timing": 1.25}


def timed(task, speedup: float, low: float, high: float) -> Verdict:  # type: ignore[no-untyped-def]
    """An accepted verdict with one workload."""
    timing = WorkloadTiming(
        workload="4096x4096 float32", eager_us=100.0 * speedup, candidate_us=100.0, speedup=speedup,
        speedup_low=low, speedup_high=high, samples=15, gbps=12.5, roofline_fraction=0.625,
    )  # fmt: skip
    made = accepted(task, speedup, low, timings=(timing,), stage_seconds=STAGES, **JUDGED)
    return made.model_copy(update={"speedup_high": high})


def small_run(client: redis.Redis, run: str = RUN, **config: object) -> None:
    """relu: 6 generated, 1 duplicate, 1 unusable, 4 judged, 2 correct, 1 faster (1.5 times). add: 2 judged, both
    wrong. softmax: asked for, nothing came. Nothing ended yet."""
    RunStore(client).create(run, ["relu", "add", "softmax"], {**CONFIG, **config})
    relu = group(f"{run}/relu/0", run=run, operation="relu", n=6)
    request(client, relu, group(f"{run}/softmax/0", run=run, operation="softmax", n=6))
    made = [
        candidate(
            f"{relu.id}:{i}",
            run=run,
            code=f"relu {i % 4}",
            tokens=100,
            generation_seconds=0.5,
            gpu_seconds=1.0,
        )
        for i in range(5)
    ]
    assert submit(client, *made) == ["queued"] * 4 + ["duplicate"]
    scripts.run(
        client, record_unusable(relu, 5, "no_code", tokens=100, generation_seconds=0.5, gpu_seconds=1.0)
    )
    verdicts = [
        rejected(made[0], ErrorType.WRONG_VALUES, stage_seconds={"compile": 0.5}, **JUDGED),
        timed(made[1], 1.02, 0.98, 1.06),
        timed(made[2], 1.5, 1.4, 1.625),
        rejected(made[3], ErrorType.TIMEOUT, stage_seconds={"compile": 0.5}, **JUDGED),
    ]
    for task, verdict in zip(made[:4], verdicts, strict=True):
        assert scripts.run(client, commit_verdict(task, verdict)) == "committed"
    scripts.run(client, finish_group(relu))
    add = group(f"{run}/add/0", run=run, operation="add", n=2)
    request(client, add)
    for i in range(2):
        task = candidate(f"{add.id}:{i}", run=run, operation="add", code=f"add {i}", tokens=50)
        submit(client, task)
        scripts.run(client, commit_verdict(task, rejected(task, ErrorType.WRONG_VALUES, **JUDGED)))
    scripts.run(client, finish_group(add))


def end(
    client: redis.Redis, run: str = RUN, kind: str = "finished", reason: str = "every operation is done"
) -> None:
    """The run ends, as the coordinator writes it."""
    runs = RunStore(client)
    runs.add_event(run, kind, reason=reason)
    runs.set_status(run, "finished" if kind == "finished" else "stopped")
