"""The load of vLLM servers out of their metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.engines.base import Pressure
from BackendBench.vllm_backend.generation.engines.prometheus import pressure_of, together

ONE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="q"} 12.0
vllm:num_requests_waiting{engine="0",model_name="q"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="q",reason="capacity"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="q"} 0.25
vllm:num_preemptions_total{engine="0",model_name="q"} 7.0
vllm:num_preemptions_created{engine="0",model_name="q"} 1.7e+09
"""


def test_one_engine() -> None:
    assert pressure_of(ONE) == Pressure(12, 3, 0.25, 7)


def test_several_engines_of_one_server() -> None:
    second = ONE.replace('engine="0"', 'engine="1"').replace("0.25", "0.75")
    assert pressure_of(ONE + second) == Pressure(24, 6, 0.75, 14)


def test_an_older_name_of_the_cache() -> None:
    text = "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.5\n"
    assert pressure_of(text) == Pressure(1, 0, 0.5, None)


@pytest.mark.parametrize(
    "text", ["", "<html>", "python_gc_objects_collected_total 4.0", "vllm:num_requests_running x"]
)
def test_no_vllm_server(text: str) -> None:
    assert pressure_of(text) is None


def test_what_is_no_number_is_left_out() -> None:
    text = "vllm:num_requests_running 2\nvllm:num_requests_waiting NaN\nvllm:kv_cache_usage_perc +Inf\n"
    assert pressure_of(text) == Pressure(2, 0, None, None)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    pressure_of(text)
    pressure_of(ONE + text)


def test_servers_together() -> None:
    known, silent = Pressure(5, 1, 0.5, 2), Pressure(3, 0)
    assert together([known, silent]) == Pressure(8, 1, 0.5, 2)
    assert together([silent]) == Pressure(3, 0, None, None)
    assert together([]) == Pressure()
