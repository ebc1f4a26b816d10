"""Whether the elements of an output have memory of their own."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.operations import contract


@given(
    st.lists(st.integers(0, 4), max_size=3),
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
)
def test_what_passes_has_an_address_for_every_element(shape: list[int], strides: list[int]) -> None:
    strides = strides[: len(shape)]
    if contract.stride_error(shape, strides):
        return
    addresses = [
        sum(i * s for i, s in zip(index, strides, strict=True))
        for index in itertools.product(*map(range, shape))
    ]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize(
    "output",
    [
        torch.empty(3, 5),
        torch.empty(3, 5).t(),
        torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.empty(3, 8)[:, :5],
        torch.empty(()),
        torch.empty(0, 4),
        torch.empty(1, 4).as_strided((1, 4), (0, 1)),
    ],
)
def test_any_order_of_memory_and_padding_are_fine(output: torch.Tensor) -> None:
    assert not contract.stride_error(output.shape, output.stride())


@pytest.mark.parametrize(
    "output",
    [torch.empty(5).expand(3, 5), torch.empty(()).expand(4), torch.empty(8).as_strided((3, 4), (2, 1))],
)
def test_expanded_and_overlapping_outputs_are_refused(output: torch.Tensor) -> None:
    assert "overlap" in contract.stride_error(output.shape, output.stride())
