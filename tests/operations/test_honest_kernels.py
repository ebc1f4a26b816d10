"""No honest kernel is refused, and none that computes in less precision than eager passes."""

from __future__ import annotations

import pytest
import torch

from BackendBench.vllm_backend.operations import catalog, tolerances, trees
from BackendBench.vllm_backend.operations.operation import Case, Operation
from BackendBench.vllm_backend.operations.tolerances import Agreement, Comparison
from BackendBench.vllm_backend.operations.wellknown import TABLE
from tests.operations import plain_loops

CPU = torch.device("cpu")
NAMES = [row.name for row in TABLE]
SEEDS = (1, 2, 3)
NARROWINGS = {
    "tf32": plain_loops.as_tf32,
    "bfloat16": plain_loops.as_half(torch.bfloat16),
    "float16": plain_loops.as_half(torch.float16),
}
LEAST_CAUGHT = 0.45
"""Share of the float32 cases on which a narrowed kernel must fail: floor fails where a value crosses an integer."""


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def judged(operation: Operation, case: Case, output: torch.Tensor) -> Comparison:
    expected = trees.leaves(operation.reference(*case.call.args, **case.call.kwargs))
    assert expected is not None
    precise = tolerances.float64_call(operation, case.call)
    return tolerances.compare_outputs(operation, [output.to(expected[0].dtype)], expected, precise)


@pytest.mark.filterwarnings("ignore:var")
@pytest.mark.parametrize("name", NAMES)
def test_eager_the_rounded_float64_answer_and_a_plain_float32_loop_are_accepted(name):
    operation = catalog.resolve(name)
    for seed in SEEDS:
        for case in operation.make_cases(CPU, seed):
            expected = trees.leaves(operation.reference(*case.call.args, **case.call.kwargs))
            precise = tolerances.float64_call(operation, case.call)
            assert precise.outputs is not None, case.name
            rounded = [p.to(e.dtype) for p, e in zip(precise.outputs, expected, strict=True)]
            loop = [plain_loops.run(name, case.call).to(expected[0].dtype)]
            for output in (expected, rounded, loop):
                found = tolerances.compare_outputs(operation, output, expected, precise)
                assert found.agrees, f"{case.name}: {found.message()}"


@pytest.mark.filterwarnings("ignore:var")
@pytest.mark.parametrize("name", [n for n in NAMES if n != "argmax"])
def test_a_kernel_of_less_precision_is_refused(name):
    operation = catalog.resolve(name)
    found: dict[str, list[Agreement]] = {narrowing: [] for narrowing in NARROWINGS}
    for case in operation.make_cases(CPU, 1):
        if not any(t.dtype == torch.float32 for t in trees.tensors(case.call)):
            continue
        expected = trees.leaves(operation.reference(*case.call.args, **case.call.kwargs))
        precise = tolerances.float64_call(operation, case.call)
        for narrowing, narrow in NARROWINGS.items():
            output = plain_loops.run(name, case.call, narrow).to(expected[0].dtype)
            judgement = tolerances.compare_outputs(operation, [output], expected, precise)
            found[narrowing].append(judgement.agreement)
    for agreements in found.values():
        refused = [a for a in agreements if a is not Agreement.AGREE]
        assert len(refused) >= LEAST_CAUGHT * len(agreements)
        if name != "floor":  # there a rounded input is off by one
            assert refused.count(Agreement.LOW_PRECISION) > len(refused) / 2


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_shifted_by_one_element_is_wrong_values(name):
    operation = catalog.resolve(name)
    found = []
    for case in operation.make_cases(CPU, 1)[:3]:
        output = operation.reference(*case.call.args, **case.call.kwargs)
        if output.numel() < 2:
            continue
        found.append(judged(operation, case, output.reshape(-1).roll(1).reshape(output.shape)).agreement)
    assert Agreement.WRONG_VALUES in found
    assert Agreement.AGREE not in found
