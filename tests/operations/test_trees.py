"""Tensors inside the arguments and outputs of a call."""

from __future__ import annotations

import torch

from BackendBench.vllm_backend.operations import trees


def test_leaves_are_tensors_or_nothing():
    one = torch.ones(1)
    assert trees.leaves(one) == [one]
    assert trees.leaves((one, one)) == [one, one]
    assert trees.leaves((one, 1)) is None
    assert trees.leaves(None) is None
    assert trees.leaves({"a": one}) is None
