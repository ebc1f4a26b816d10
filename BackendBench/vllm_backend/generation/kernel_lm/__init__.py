"""The farm's own small language model: its files, and how it runs where there is no vLLM.

- ``DIRECTORY`` is a model directory as transformers and vLLM load it; ``models/kernel_lm`` makes it anew.
- decoder.py computes, drawing.py chooses tokens, batching.py keeps many samples going in one thread.
- Nothing here is hostile and nothing is pickled: weights are safetensors, the rest is JSON.
"""

from __future__ import annotations

from pathlib import Path

DIRECTORY = Path(__file__).parent


def is_here() -> bool:
    """Whether this installation has the weights."""
    return (DIRECTORY / "model.safetensors").is_file()
