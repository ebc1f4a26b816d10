"""What the workers of a run are started with."""

from __future__ import annotations

from BackendBench.vllm_backend.evaluation.resources import cores
from BackendBench.vllm_backend.fleet.devices import Gpu
from BackendBench.vllm_backend.fleet.layout import Evaluator
from BackendBench.vllm_backend.fleet.worker_specs import quiet_cores

GPUS = [Gpu(i, str(i), "NVIDIA H200", 140 << 30, f"GPU-{i}-5a1c") for i in range(2)]


def test_an_engine_keeps_off_the_cores_that_kernels_are_timed_on():
    available = range(16)
    quiet = quiet_cores([Evaluator(gpu=1)], GPUS, available)
    timing = cores.split(available, "cuda", GPUS[1].uuid).timing
    assert len(timing) == 3
    assert set(quiet) == set(available) - timing


def test_the_cores_of_every_judge_count():
    evaluators = [Evaluator(gpu=0, cores=tuple(range(12))), Evaluator(gpu=1, cores=tuple(range(12, 24)))]
    quiet = quiet_cores(evaluators, GPUS, range(32))
    assert len(quiet) == 32 - 2 * 2
    assert set(range(24, 32)) <= set(quiet)


def test_an_engine_is_not_left_with_less_than_half_of_the_cores():
    gpus = [Gpu(i, str(i), "NVIDIA H200", 140 << 30, f"GPU-{i}-5a1c") for i in range(8)]
    for count in range(1, 9):
        quiet = quiet_cores([Evaluator(gpu=gpu) for gpu in range(count)], gpus, range(16))
        assert quiet == () or len(quiet) >= 8


def test_where_no_cores_are_kept_for_timing_an_engine_may_use_all():
    assert quiet_cores([Evaluator(cores=(0, 1))], [], range(2)) == ()
    assert quiet_cores([Evaluator(gpu=0)], GPUS, range(4)) == ()
