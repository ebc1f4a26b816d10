"""The parts of the vLLM engine that need no vLLM: arguments, load, cause of death, chat template."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.engines.base import EngineConfigError, Prompt
from BackendBench.vllm_backend.generation.engines.vllm import VllmEngine, chat_text, engine_arguments
from BackendBench.vllm_backend.generation.engines.vllm_errors import StderrTail, advice, root_cause
from BackendBench.vllm_backend.generation.engines.vllm_load import EngineLoad
from BackendBench.vllm_backend.generation.settings import EngineSettings

DEATH = """\
(EngineCore pid=4) INFO 11-25 01:02:03 [core.py:95] Initializing a V1 LLM engine
(EngineCore pid=4) ERROR 11-25 01:02:04 [core.py:843] EngineCore encountered a fatal error.
(EngineCore pid=4) ERROR 11-25 01:02:04 [core.py:843] Traceback (most recent call last):
(EngineCore pid=4) ERROR 11-25 01:02:04 [core.py:843]   File "gpu_worker.py", line 1, in load_model
(EngineCore pid=4) ERROR 11-25 01:02:04 [core.py:843] torch.OutOfMemoryError: CUDA out of memory. Tried to get 2 GiB.
(EngineCore pid=4) Process EngineCore_DP0:
(EngineCore pid=4) Traceback (most recent call last):
(EngineCore pid=4) RuntimeError: Worker failed with error 'CUDA out of memory', please check the stack trace above
vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
"""


def test_the_cause_is_the_first_error_that_is_no_report_of_another() -> None:
    assert root_cause(DEATH.splitlines()) == "OutOfMemoryError: CUDA out of memory. Tried to get 2 GiB."
    assert root_cause(["Traceback (most recent call last):", "all is well"]) == ""


def test_memory_has_advice() -> None:
    assert "lower max_model_len" in advice("OutOfMemoryError: CUDA out of memory")
    assert "lower max_model_len" in advice("ValueError: No available memory for the cache blocks")
    assert advice("ValueError: something else") == ""


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_log_breaks_it(lines: list[str]) -> None:
    assert "\n" not in root_cause(lines)


def test_what_children_say_is_passed_on_and_kept() -> None:
    code = (
        "import subprocess, sys\n"
        "from BackendBench.vllm_backend.generation.engines.vllm_errors import StderrTail\n"
        "tail = StderrTail()\n"
        "with tail.for_children():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'raise KeyError(5)'])\n"
        "child.wait()\n"
        "while not tail.cause(): pass\n"
        "print(tail.cause())\n"
        "print('own words', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "KeyError: 5\n"
    assert "KeyError: 5" in done.stderr and "own words" in done.stderr


def test_own_standard_error_is_untouched_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with StderrTail().for_children():
        pass
    os.write(2, b"still here\n")
    assert "still here" in capfd.readouterr().err


def test_the_load_is_that_of_the_last_step() -> None:
    load = EngineLoad()
    assert load(None, 0) is load
    prefix = SimpleNamespace(queries=100, hits=60)
    step = SimpleNamespace(
        num_running_reqs=7, num_waiting_reqs=2, kv_cache_usage=0.5, prefix_cache_stats=prefix
    )
    work = SimpleNamespace(num_preempted_reqs=1, num_prompt_tokens=10, num_generation_tokens=7)
    load.record(step, work, None, engine_idx=0)
    load.record(step, work, mm_cache_stats=None, engine_idx=1)
    seen = load.pressure()
    assert (seen.running, seen.waiting, seen.kv_cache_usage, seen.preemptions) == (14, 4, 0.5, 2)
    assert (load.prefix_hit_rate, load.generated_tokens, load.steps) == (0.6, 14, 2)


def test_statistics_that_a_version_lacks_are_unknown() -> None:
    load = EngineLoad()
    load.record(None, None)
    load.record(SimpleNamespace(), SimpleNamespace(), new_thing=1)
    seen = load.pressure()
    assert (seen.running, seen.waiting, seen.kv_cache_usage, seen.preemptions) == (0, 0, None, 0)
    assert load.prefix_hit_rate == 0.0


def test_the_user_s_arguments_win_under_vllm_s_own_names() -> None:
    settings = EngineSettings(
        name="vllm", model="m", tensor_parallel_size=4, gpu_memory_bytes=(1,),
        engine_args={"enforce_eager": True, "max_num_seqs": 64, "gpu_memory_utilization": 0.5},
    )  # fmt: skip
    found = engine_arguments(settings)
    assert found["model"] == "m" and found["tensor_parallel_size"] == 4 and found["enable_prefix_caching"]
    assert found["enforce_eager"] is True and found["max_num_seqs"] == 64
    assert found["gpu_memory_utilization"] == 0.5
    plain = engine_arguments(EngineSettings(name="vllm", model="m"))
    assert plain["enforce_eager"] is False, "CUDA graphs are on"
    assert "gpu_memory_utilization" not in plain, "of a GPU that is not known vLLM decides"


def test_an_engine_without_a_model_is_one_line() -> None:
    with pytest.raises(EngineConfigError, match="give --model"):
        VllmEngine(EngineSettings(name="vllm"))


class NoSystem:
    """The template of a model that knows no system text."""

    chat_template = "there is one"

    def apply_chat_template(self, messages: list[dict[str, str]], **_: object) -> str:
        if any(message["role"] == "system" for message in messages):
            raise RuntimeError("System role not supported")
        return "|".join(message["content"] for message in messages)


def test_a_template_without_a_system_text_gets_both_texts_in_one() -> None:
    assert chat_text(NoSystem(), Prompt("a", "b").messages()) == "a\n\nb"


def test_no_template_is_one_line() -> None:
    with pytest.raises(EngineConfigError, match="no chat template"):
        chat_text(SimpleNamespace(chat_template=None), Prompt("a", "b").messages())
