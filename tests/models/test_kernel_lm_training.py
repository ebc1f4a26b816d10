"""The training's own law: what a token sees, how documents are laid out, and that learning learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.kernel_lm import masks, packing
from models.kernel_lm.branches import laid_out
from models.kernel_lm.model import LanguageModel
from models.kernel_lm.packing import Document
from models.kernel_lm.shape import Shape
from models.kernel_lm.train import CPU_MINUTES, GPU_STEPS, Course, decided, learning_rate, optimisers
from models.kernel_lm.ways import OnCpu

SMALL = Shape(vocabulary=64, hidden=32, layers=2, heads=2, key_value_heads=1, head_size=16, feed_forward=48)


def document(prompt: int, *answers: int, seed: int = 0) -> Document:
    rng = np.random.default_rng(seed)
    return Document(
        rng.integers(3, 64, prompt).astype(np.uint16),
        tuple(rng.integers(3, 64, count).astype(np.uint16) for count in answers),
    )


def test_branches_and_packed_rows_have_the_same_loss() -> None:
    torch.manual_seed(0)
    model = LanguageModel(SMALL)
    for one in (document(7, 5, 3, 4), document(1, 6), document(12, 2, 9, seed=3)):
        laid = laid_out(one)
        batch = packing.batch([packing.row([one], 64)], 60)
        tokens, positions, owners, chosen, targets = (torch.from_numpy(array) for array in batch)
        packed = model(tokens, positions, masks.dense(owners), chosen, targets)
        branched = model(laid.tokens, laid.positions, laid.branches, laid.chosen, laid.targets)
        torch.testing.assert_close(branched, packed)


def test_the_mask_is_the_law() -> None:
    row = packing.row([document(3, 2, 4), document(2, 3, seed=1)], 20)
    seen = masks.dense(torch.from_numpy(row.owners)[None])[0, 0]
    for query, mine in enumerate(row.owners):
        for key, other in enumerate(row.owners):
            assert bool(seen[query, key]) == packing.visible(int(mine), int(other), query, key)


def test_an_answer_does_not_see_its_siblings() -> None:
    torch.manual_seed(0)
    model = LanguageModel(SMALL)
    one = document(6, 5, 5)
    changed = Document(one.prompt, (one.answers[0], one.answers[1][::-1].copy()))
    hidden = []
    for laid in (laid_out(one), laid_out(changed)):
        hidden.append(model.model(laid.tokens, laid.positions, laid.branches)[0, : 6 + 5])
    torch.testing.assert_close(hidden[0], hidden[1])


def test_steps_learn_a_document_by_heart() -> None:
    torch.manual_seed(0)
    model = LanguageModel(SMALL)
    way, steps = OnCpu(model), optimisers(model)
    batch = way.batch([document(5, 8, 6), document(4, 7, seed=2)])
    first = way.loss(batch).item()
    for one in (group for optimiser in steps for group in optimiser.param_groups):
        one["lr"] = 0.01
    for _ in range(60):
        way.learn(batch)
        for one in steps:
            one.step()
            one.zero_grad(set_to_none=True)
    assert way.loss(batch).item() < first / 4


def test_gradients_of_a_batch_are_those_of_its_mean_loss() -> None:
    torch.manual_seed(0)
    model = LanguageModel(SMALL)
    way = OnCpu(model)
    batch = way.batch([document(5, 8, 6), document(4, 7, seed=2)])
    loss, tokens = way.learn(batch)
    learned = [parameter.grad.clone() for parameter in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()
    whole = way.loss(batch)
    whole.backward()
    assert tokens == 5 + 2 * 8 + 4 + 7
    torch.testing.assert_close(loss, whole.detach())
    for found, parameter in zip(learned, model.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


def test_the_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    course = Course(1000, 0.0)
    rates = [learning_rate(step, course.progress(step)) for step in range(1000)]
    assert rates[0] < rates[20] < rates[40] == rates[499] == max(rates)
    assert rates[998] < rates[750] < rates[499]
    assert learning_rate(1000, course.progress(1000)) == 0.0


def test_the_shipped_shape_is_small_enough() -> None:
    count = sum(parameter.numel() for parameter in LanguageModel(Shape()).parameters())
    assert count <= 8_000_000
    assert not (Path(__file__).parents[2] / "models" / "kernel_lm" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("given", "on_gpu", "expected"),
    [
        ({}, True, (GPU_STEPS, 0.0, 8)),
        ({}, False, (0, CPU_MINUTES, 4)),
        ({"minutes": 5.0}, True, (0, 5.0, 8)),
        ({"steps": 10, "batch": 2}, False, (10, 0.0, 2)),
    ],
)
def test_how_long_is_left_to_the_device_unless_said(
    given: dict[str, Any], on_gpu: bool, expected: tuple[int, float, int]
) -> None:
    unsaid = {"out": Path("x"), "minutes": None, "steps": None, "seed": 0, "processes": 1, "batch": None}
    made = decided({**unsaid, **given}, on_gpu=on_gpu)
    assert (made.steps, made.minutes, made.batch) == expected
