"""Which elements of a timed block are compared, and what is seen there."""

from __future__ import annotations

import random

import pytest
import torch

from BackendBench.vllm_backend.evaluation.memory.arena import POISON
from BackendBench.vllm_backend.evaluation.memory.shared_calls import Layout, lay_out, read
from BackendBench.vllm_backend.evaluation.timing import spot_check
from BackendBench.vllm_backend.evaluation.timing.spot_check import Spots
from BackendBench.vllm_backend.operations.operation import Call

CALLS = 5
SHAPES = [(7, 3), (11,)]
"""Of the two outputs of a call: no multiple of anything."""


def layout() -> Layout:
    expected = [torch.zeros(SHAPES[0]), torch.zeros(SHAPES[1], dtype=torch.float64)]
    return lay_out([(Call((torch.zeros(4),), {}), expected) for _ in range(CALLS)])


def answered(made: Layout, seed: int = 0) -> torch.Tensor:
    """Output memory of a block in which every call has other values."""
    memory = torch.full((made.output_bytes,), POISON, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(seed)
    for item in made.items:
        for output in read(memory, item):
            output.copy_(torch.randn(output.shape, generator=generator, dtype=output.dtype))
    return memory


def everywhere(made: Layout, chosen: int) -> Spots:
    """As on a GPU, with all elements as the secret ones."""
    few = [torch.arange(torch.Size(shape).numel()) for shape in SHAPES]
    return Spots(made, chosen, [None, None], few)


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_of_every_call_is_what_the_single_calls_have(output):
    made = layout()
    memory = answered(made)
    together = spot_check.every_call(memory, made, 3, output)
    for row, item in zip(together, made.items[:3], strict=True):
        assert torch.equal(row, read(memory, item)[output].reshape(-1))


def test_the_same_answers_agree_also_where_one_side_has_fewer_calls():
    made = layout()
    spots = everywhere(made, chosen=1)
    eager, candidate = answered(made), answered(made)
    for output in read(candidate, made.items[4]):
        output.fill_(0)  # a call that the candidate's block did not have
    assert spot_check.agree([(spots.keep(CALLS)(eager), spots.keep(4)(candidate))])
    assert not spot_check.agree([(spots.keep(CALLS)(eager), spots.keep(5)(candidate))])


@pytest.mark.parametrize("call", range(CALLS))
def test_a_call_that_did_nothing_is_seen_whichever_it_is(call):
    made = layout()
    spots = everywhere(made, chosen=0)
    eager, candidate = answered(made), answered(made)
    read(candidate, made.items[call])[1].view(torch.uint8).fill_(POISON)
    assert not spot_check.agree([(spots.keep(CALLS)(eager), spots.keep(CALLS)(candidate))])


def test_on_a_cpu_the_chosen_call_is_compared_whole_and_the_others_are_not():
    made = layout()
    spots = spot_check.draw(made, CALLS, torch.device("cpu"), random.Random(3))
    eager = answered(made)
    for call, item in enumerate(made.items):
        candidate = answered(made)
        read(candidate, item)[0][0, 0] += 1
        agrees = spot_check.agree([(spots.keep(CALLS)(eager), spots.keep(CALLS)(candidate))])
        assert bool(agrees) == (call != spots.chosen)


def test_the_chosen_call_is_one_that_both_sides_have():
    rng = random.Random(0)
    drawn = {spot_check.draw(layout(), 2, torch.device("cpu"), rng).chosen for _ in range(50)}
    assert drawn == {0, 1}


def test_outputs_without_elements_agree():
    made = lay_out([(Call((torch.zeros(1),), {}), [torch.zeros(0, 4)]) for _ in range(2)])
    memory = torch.zeros(made.output_bytes, dtype=torch.uint8)
    spots = Spots(made, 0, [None], [torch.zeros(0, dtype=torch.int64)])
    assert spot_check.agree([(spots.keep(2)(memory), spots.keep(2)(memory))])


def test_what_is_large_in_one_pair_does_not_hide_what_is_wrong_in_another():
    large, small = torch.full((2,), 1e6), torch.tensor([0.5, 0.25])
    few = torch.ones(3, 4)
    right = ([large, few], [large, few])
    assert spot_check.agree([right, ([small, few[:2]], [small, few[:2]])])
    assert not spot_check.agree([right, ([small, few[:2]], [torch.zeros(2), few[:2]])])
    assert not spot_check.agree([right, ([small, few[:2]], [small, torch.zeros(2, 4)])])
    assert not spot_check.agree([([torch.tensor(0.05)], [torch.tensor(0.0)]), ([large[0]], [large[0]])])


@pytest.mark.parametrize("wrong", range(3))
def test_one_wrong_answer_is_seen_among_those_of_several_pairs(wrong: int):
    made = layout()
    pairs = []
    for number, chosen in enumerate((0, 4, 2)):
        eager, candidate = answered(made, seed=number), answered(made, seed=number)
        pairs.append((Spots(made, chosen, [None, None], None), eager, candidate))
    everything = [
        (spots.keep(CALLS)(eager), spots.keep(CALLS)(candidate)) for spots, eager, candidate in pairs
    ]
    assert spot_check.agree(everything)
    spots, _, candidate = pairs[wrong]
    read(candidate, made.items[spots.chosen])[1][3] += 1
    assert not spot_check.agree(everything)
