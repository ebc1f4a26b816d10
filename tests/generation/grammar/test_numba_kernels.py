"""Numba kernels that are meant to be right are right on the correctness cases of their operation."""

from __future__ import annotations

import os

import pytest

from BackendBench.vllm_backend.generation import grammar
from tests.generation.grammar.checking import every_style, verdict, write

ALL = bool(os.environ.get("BACKENDBENCH_ALL_STYLES"))
SAMPLED = (("gelu", 1), ("lerp", 2), ("var", 5), ("layer_norm", 4), ("linear", 0))
"""One of each kind; all operations and styles are checked with BACKENDBENCH_ALL_STYLES=1 (half an hour)."""


@pytest.mark.parametrize(("operation", "seed"), SAMPLED)
def test_a_derivation_is_correct(operation: str, seed: int) -> None:
    written, _ = write(operation, "numba", seed)
    assert verdict(written, most=40_000) == (None, ""), written.code


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", grammar.known("numba") if ALL else [])
def test_every_style_is_correct(operation: str) -> None:
    for seed, written in every_style(operation, "numba"):
        assert verdict(written) == (None, ""), f"seed {seed}\n{written.code}"
