"""The yardstick by itself, on values made up for it."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.operations.operation import Call
from BackendBench.vllm_backend.operations.reference64 import Reference, by_formula
from BackendBench.vllm_backend.operations.tolerances import Agreement, compare, compare_outputs

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2)
COMPLEX = (torch.complex64, torch.complex128)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def values(dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dtype in INTEGERS:
        return torch.randint(0, 2 if dtype == torch.bool else 100, (7, 11), generator=generator).to(dtype)
    if dtype in COMPLEX:
        return torch.randn(7, 11, generator=generator, dtype=dtype)
    return torch.randn(7, 11, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", (*FLOATS, *COMPLEX, *INTEGERS), ids=str)
def test_every_dtype_agrees_with_itself_and_not_with_another_answer(dtype):
    eager = values(dtype)
    wide = torch.complex128 if dtype in COMPLEX else torch.float64
    precise = None if dtype in INTEGERS else eager.to(wide)
    assert compare(eager.clone(), eager, precise).agrees
    found = compare(values(dtype, seed=1), eager, precise)
    assert found.agreement is Agreement.WRONG_VALUES
    assert found.wrong > 0
    assert found.message().startswith("output[")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16], ids=str)
def test_rounding_through_half_precision_is_low_precision(dtype, narrow):
    eager = values(dtype)
    if dtype in COMPLEX:
        output = torch.view_as_complex(torch.view_as_real(eager).to(narrow).float())
        precise = eager.to(torch.complex128)
    else:
        output, precise = eager.to(narrow).to(dtype), eager.double()
    found = compare(output, eager, precise)
    assert found.agreement is Agreement.LOW_PRECISION
    assert "less accurate" in found.message()


@pytest.mark.parametrize("dtype", FLOATS[:4], ids=str)
@pytest.mark.parametrize("there", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("produced", [1.0, math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stands_where_eager_has_it(dtype, there, produced):
    eager = values(dtype)
    eager[2, 3] = there
    output = eager.clone()
    output[2, 3] = produced
    found = compare(output, eager, eager.double())
    same = str(there) == str(produced)
    assert found.agreement is (Agreement.AGREE if same else Agreement.WRONG_NONFINITE)
    if not same:
        assert found.index == (2, 3)


@pytest.mark.parametrize("there", [math.nan, math.inf])
def test_a_nan_where_eager_is_finite_is_wrong(there):
    eager = values(torch.float32)
    output = eager.clone()
    output[0, 0] = there
    assert compare(output, eager, eager.double()).agreement is Agreement.WRONG_NONFINITE


def test_the_true_answer_is_accepted_where_eager_overflows():
    eager = torch.tensor([1.0, math.inf])
    precise = torch.tensor([1.0, 3e38], dtype=torch.float64)
    assert compare(torch.tensor([1.0, 3e38]), eager, precise).agrees
    assert compare(eager.clone(), eager, precise).agrees


def test_better_than_eager_is_accepted_and_eager_itself_always():
    precise = values(torch.float32).double()
    eager = (precise * (1 + 1e-4)).float()
    assert compare(eager.clone(), eager, precise).agrees
    assert compare(precise.float(), eager, precise).agrees
    assert compare((precise * (1 - 2e-4)).float(), eager, precise).agrees  # as inaccurate as eager, elsewhere
    assert not compare((precise * (1 - 2e-3)).float(), eager, precise).agrees


def test_one_wrong_element_among_a_million_is_found():
    eager = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))
    output = eager.clone()
    output[431, 77] += 0.25
    found = compare(output, eager, eager.double())
    assert (found.agreement, found.index, found.wrong) == (Agreement.WRONG_VALUES, (431, 77), 1)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1)])
def test_odd_shapes(shape):
    eager = torch.ones(shape)
    assert compare(eager.clone(), eager, eager.double()).agrees
    if eager.numel():
        assert not compare(eager + 1, eager, eager.double()).agrees


def test_other_shapes_and_dtypes_are_the_callers_mistake():
    with pytest.raises(ValueError, match="beside"):
        compare(torch.ones(2), torch.ones(3), None)
    with pytest.raises(ValueError, match="beside"):
        compare(torch.ones(2), torch.ones(2).double(), None)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_subnormal=True), min_size=1, max_size=8),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
)
def test_any_values_agree_with_themselves(numbers, dtype):
    eager = torch.tensor(numbers, dtype=torch.float64).to(dtype)
    assert compare(eager.clone(), eager, eager.double()).agrees


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8),
    st.integers(0, 7),
    st.sampled_from([1, -1]),
)
def test_one_unit_in_the_last_place_is_always_allowed_and_a_hundredth_never(numbers, index, sign):
    eager = torch.tensor(numbers, dtype=torch.float32)
    index %= len(numbers)
    near, far = eager.clone(), eager.clone()
    near[index] = torch.nextafter(eager[index], torch.tensor(sign * math.inf))
    far[index] += sign * max(1e-2 * float(eager.abs().max()), 1e-3)
    assert compare(near, eager, eager.double()).agrees
    assert not compare(far, eager, eager.double()).agrees


@settings(max_examples=100, deadline=None)
@given(st.floats(1, 1e4), st.floats(0, 1e-2))
def test_a_larger_scale_never_refuses_more(scale, error):
    eager = values(torch.float32)
    output = eager * (1 + error)
    tight = compare(output, eager, eager.double())
    wide = compare(output, eager, eager.double(), scale=scale)
    assert wide.excess <= tight.excess or wide.excess == pytest.approx(tight.excess)


def rms_norm_of_a_row_with_infinity() -> tuple[torch.Tensor, torch.Tensor]:
    """The row, and what a fused kernel on a GPU answers: a mean by updates makes every element NaN."""
    row = torch.tensor([[1.0, math.inf, -2.0, 0.5]])
    return row, torch.full_like(row, math.nan)


@pytest.mark.parametrize(
    ("produced", "agrees"),
    [
        ([0.0, math.nan, 0.0, 0.0], True),
        ([math.nan] * 4, True),
        ([0.0, math.nan, math.nan, 0.0], True),
        ([1.0, math.nan, 0.0, 0.0], False),
        ([0.0, 0.0, 0.0, 0.0], False),
    ],
)
def test_where_eager_drags_a_row_into_nan_the_formula_may_stand(produced, agrees):
    _, fused = rms_norm_of_a_row_with_infinity()
    formula = torch.tensor([[0.0, math.nan, 0.0, 0.0]], dtype=torch.float64)
    reference = Reference([fused.double()], [None], 4, formula=[formula])
    operation = catalog.resolve("rms_norm")
    found = compare_outputs(operation, [torch.tensor([produced])], [fused], reference)
    assert found.agrees is agrees


def test_the_formula_is_asked_for_inputs_that_are_not_finite_alone():
    row, _ = rms_norm_of_a_row_with_infinity()
    operation = catalog.resolve("rms_norm")
    wide = row.double()
    (found,) = by_formula(operation, Call((wide, [4]), {}), [wide]) or [None]
    assert found is not None
    assert found[0, 0] == 0
    assert found[0, 1].isnan()
    assert by_formula(operation, Call((torch.ones(1, 4).double(), [4]), {}), [wide]) is None
