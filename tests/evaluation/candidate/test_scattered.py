"""Where the outputs of a timed block lie."""

from __future__ import annotations

import random

import pytest
import torch

from BackendBench.vllm_backend.evaluation.candidate import scattered
from BackendBench.vllm_backend.evaluation.candidate.scattered import (
    KEPT_SIZES,
    LARGEST_BYTES,
    MOST_BYTES,
    MOST_LONGER_BYTES,
    MOST_PLACES,
    ROOM_BYTES,
    SMALL_BYTES,
    Scattered,
)


class Counting(Scattered):
    """Says what it asks for."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), random.Random(1))
        self.asked: list[int] = []

    def _place(self, size: int) -> torch.Tensor:
        self.asked.append(size)
        return super()._place(size)

    def kept(self) -> dict[int, int]:
        """Places taken, by their size."""
        return {size: len(places.taken) for size, places in self._places.items()}

    def where(self, size: int) -> set[int]:
        """Addresses of those taken."""
        return {tensor.data_ptr() for tensor in self._places[size].taken}


def test_as_many_places_as_a_block_needs_are_free_and_others_are_taken():
    places = Counting()
    places.make_room([4096] * 16)
    assert places.kept() == {4096: MOST_PLACES}
    assert len(places.asked) == MOST_PLACES + 16
    places.make_room([4096] * 5)  # of the eighty, those of the last block were free
    assert len(places.asked) == MOST_PLACES + 16 + 16
    assert places.kept() == {4096: MOST_PLACES + 11}


def test_places_are_of_different_lengths_and_none_is_too_short():
    places, size = Counting(), SMALL_BYTES * 2
    places.make_room([size] * 2)
    lengths = places.asked[1:]
    assert min(lengths) >= size
    assert max(lengths) <= size + MOST_LONGER_BYTES
    assert len(set(lengths)) > 5
    places.make_room([size] * 2)  # the same ones are taken again
    assert set(places.asked[1:]) == set(lengths)


def test_others_are_given_back_each_time():
    places = Counting()
    places.make_room([512] * 16)
    before = places.where(512)
    places.make_room([512] * 16)
    assert before != places.where(512)


def test_the_driver_is_asked_once_for_places_that_are_no_small_ones():
    places = Counting()
    places.make_room([SMALL_BYTES * 2] * 4)
    kept = places.kept()[SMALL_BYTES * 2]
    assert kept == MOST_BYTES // (SMALL_BYTES * 2)
    assert places.asked[0] >= (kept + 4) * SMALL_BYTES * 2
    assert sum(places.asked[1:]) <= places.asked[0]


def test_nothing_is_kept_of_large_outputs_but_they_are_asked_for_before_the_block():
    places, large = Counting(), LARGEST_BYTES + 1
    places.make_room([1024, large, 0, large])
    assert list(places.kept()) == [1024]
    assert places.asked[-2:] == [large, large]


def test_the_places_of_a_few_sizes_are_kept_and_lie_where_they_lay():
    places = Counting()
    places.make_room([1024] * 2)
    asked = len(places.asked)
    places.make_room([2048])
    places.make_room([1024] * 2)
    assert list(places.kept()) == [2048, 1024]
    assert len(places.asked) == asked + MOST_PLACES + 1 + 2
    for size in range(1, KEPT_SIZES + 1):
        places.make_room([size])
    assert list(places.kept()) == list(range(1, KEPT_SIZES + 1))
    many = [4 * size for size in range(1, KEPT_SIZES + 3)]  # of one call
    places.make_room(many)
    assert list(places.kept()) == many


def test_who_has_no_memory_left_keeps_nothing(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    places = Counting()
    places.make_room([1024])
    monkeypatch.setattr(scattered, "_empty", full)
    places.make_room([1024])
    assert places.kept() == {}
    monkeypatch.undo()
    places.make_room([1024])  # it may be full again at any time
    assert places.kept() == {}


def test_a_block_with_very_large_outputs_has_all_the_memory():
    places = Counting()
    places.make_room([1024])
    places.make_room([ROOM_BYTES, 1024])
    assert places.kept() == {}


@pytest.mark.gpu
@pytest.mark.parametrize("size", [1 << 19, 1 << 21])
def test_outputs_lie_at_many_places_of_a_gpu_and_no_memory_is_asked_for(size: int):
    device = torch.device("cuda")
    places = Scattered(device, random.Random(1))
    found: set[int] = set()
    for _ in range(20):
        places.make_room([size] * 8)
        reserved = torch.cuda.memory_reserved(device)
        outputs = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(8)]
        found |= {tensor.data_ptr() for tensor in outputs}
        assert torch.cuda.memory_reserved(device) == reserved
        del outputs
    assert len(found) >= 24


@pytest.mark.gpu
def test_no_memory_is_asked_for_in_a_block_with_large_outputs():
    device, size = torch.device("cuda"), 4 * LARGEST_BYTES
    torch.cuda.empty_cache()
    places = Scattered(device, random.Random(1))
    places.make_room([size] * 8)
    reserved = torch.cuda.memory_reserved(device)
    outputs = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(8)]
    assert torch.cuda.memory_reserved(device) == reserved
    del outputs
