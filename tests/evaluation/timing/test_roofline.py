"""What a device can do at most, and what a time on it amounts to."""

import pytest
import torch

from BackendBench.vllm_backend.evaluation.timing import roofline
from BackendBench.vllm_backend.evaluation.timing.roofline import MARGIN, Ceilings
from BackendBench.vllm_backend.operations.operation import Call, Workload

GPU = Ceilings(bytes_per_second=4e12, flops_per_second=8e14, cache_bytes=50_000_000)


def workload(bytes_moved: int, flops: int = 0) -> Workload:
    return Workload("w", "nowhere", lambda device, generator: Call(()), bytes_moved, flops)


def test_the_floor_is_what_takes_longer_bytes_or_arithmetic():
    assert roofline.floor_us(workload(450_000_000), GPU) == pytest.approx(100.0)
    assert roofline.floor_us(workload(450_000_000, 8 * 10**10), GPU) == pytest.approx(100.0)
    assert roofline.floor_us(workload(450_000_000, 8 * 10**11), GPU) == pytest.approx(1000.0)


def test_what_fits_into_the_cache_need_not_reach_memory():
    assert roofline.floor_us(workload(50_000_000), GPU) == 0.0
    assert roofline.impossible(workload(50_000_000), 0.001, GPU) == ""


def test_faster_than_the_floor_allows_is_impossible_with_a_margin():
    work = workload(450_000_000)
    assert roofline.impossible(work, 100.0, GPU) == ""
    assert roofline.impossible(work, MARGIN * 100.0 + 0.01, GPU) == ""
    assert "100.00 us" in roofline.impossible(work, MARGIN * 100.0 - 0.01, GPU)


def test_a_cpu_has_no_floor_but_rates():
    none = roofline.measure(torch.device("cpu"))
    assert roofline.floor_us(workload(10**12, 10**15), none) == 0.0
    assert roofline.impossible(workload(10**12, 10**15), 1e-6, none) == ""
    found = roofline.achieved(workload(1_000_000, 2_000_000), 100.0, none)
    assert (found.gbps, found.tflops, found.fraction) == (10.0, 0.02, None)


def test_rates_and_fraction_of_a_time_on_a_gpu():
    found = roofline.achieved(workload(450_000_000), 200.0, GPU)
    assert found.gbps == 2250.0
    assert found.tflops is None  # no arithmetic was counted
    assert found.fraction == 0.5
