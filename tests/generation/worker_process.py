"""A real worker process that needs no torch: ``python worker_process.py SETTINGS``. Only the view of relu is given."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from BackendBench.vllm_backend.generation.operation_view import OperationView
from BackendBench.vllm_backend.generation.settings import GenerationSettings
from BackendBench.vllm_backend.generation.worker import serve

if __name__ == "__main__":
    settings = GenerationSettings.model_validate_json(Path(sys.argv[1]).read_text())
    view = OperationView("relu", "relu.default", "(x)")
    sys.exit(asyncio.run(serve(settings, lambda name, source: view)))
