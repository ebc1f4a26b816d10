"""The farm's own small language model: its files, and how it runs where there is no vLLM.

- ``DIRECTORY`` is a model directory as transformers and vLLM load it; ``models/kernel_lm`` makes it anew.
- decoder.py computes, drawing.py chooses tokens, batching.py keeps many samples going in one thread.
- Nothing here is hostile and nothing is pickled: weights are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

DIRECTORY = Path(__file__).parent


def own_sampling(directory: Path = DIRECTORY) -> tuple[float, float]:
    """Temperature and top-p that a model's generation_config.json names: those that it was measured with."""
    values = json.loads((directory / "generation_config.json").read_text("utf-8"))
    return float(values["temperature"]), float(values["top_p"])


def is_here() -> bool:
    """Whether this installation has the weights."""
    return (DIRECTORY / "model.safetensors").is_file()
