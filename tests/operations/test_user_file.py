"""A user's own operation and a KernelBench problem, as files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from BackendBench.vllm_backend.operations import catalog, tolerances, trees

CPU = torch.device("cpu")
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OWN = [f"{EXAMPLES}/my_ops.py:scaled_relu", f"{EXAMPLES}/my_ops.py:geglu", f"{EXAMPLES}/problem.py"]


@pytest.mark.parametrize("wanted", OWN)
def test_the_examples_are_operations(wanted):
    operation = catalog.resolve(wanted)
    one, same, other = (operation.make_cases(CPU, seed) for seed in (1, 1, 2))
    first, again, changed = (trees.tensors(cases[1].call)[0] for cases in (one, same, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, changed)
    for case in one:
        eager = operation.reference(*case.call.args, **case.call.kwargs)
        precise = tolerances.float64_call(operation, case.call)
        assert precise.outputs is not None
        assert tolerances.compare_outputs(operation, [eager], [eager], precise).agrees
    for workload in operation.make_workloads(CPU):
        assert workload.make(CPU, torch.Generator().manual_seed(1))
        assert workload.bytes_moved > 0


@pytest.mark.parametrize("wanted", OWN)
def test_an_operation_travels_as_text(wanted):
    here = catalog.resolve(wanted)
    there = catalog.from_source(here.name, here.source)
    assert (there.name, there.signature, there.description) == (here.name, here.signature, here.description)
    call = here.make_cases(CPU, 1)[0].call
    assert torch.equal(here.reference(*call.args, **call.kwargs), there.reference(*call.args, **call.kwargs))


def test_two_runs_of_a_generator_do_not_touch_the_callers_random_numbers():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    catalog.resolve(OWN[0]).make_cases(CPU, 9)
    assert torch.equal(torch.get_rng_state(), before)


FAULTS = {
    "syntax": ("def f(x):\n    return x +\n", "line 2"),
    "import": ("import no_such_module\n", "no_such_module"),
    "no function": ("x = 1\n", "defines no function f"),
    "no inputs": ("def f(x): return x\n", "f_inputs"),
    "inputs take nothing": ("def f(x): return x\ndef f_inputs(): yield (1,), {}\n", "(seed, device)"),
    "inputs yield a number": ("def f(x): return x\ndef f_inputs(seed, device): yield 3\n", "must yield"),
    "inputs raise": ("def f(x): return x\ndef f_inputs(seed, device): raise KeyError('a\\nb')\n", "KeyError"),
    "inputs yield nothing": (
        "def f(x): return x\ndef f_inputs(seed, device): yield from ()\n",
        "yields nothing",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_file_is_one_line(tmp_path, fault):
    text, expected = FAULTS[fault]
    file = tmp_path / "ops.py"
    file.write_text(text)
    with pytest.raises(catalog.BadOperationFile) as caught:
        catalog.resolve(f"{file}:f").make_cases(CPU, 1)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_name_or_that_is_missing_is_one_line(tmp_path):
    for wanted in (f"{EXAMPLES}/my_ops.py", f"{tmp_path}/none.py:f"):
        with pytest.raises(catalog.BadOperationFile) as caught:
            catalog.resolve(wanted)
        assert "\n" not in str(caught.value)


def test_a_candidate_of_a_problem_draws_the_same_parameters():
    operation = catalog.resolve(OWN[2])
    code = operation.source.replace("class Model(", "class ModelNew(") + operation.adapter
    space: dict = {"__name__": "candidate"}
    exec(compile(code, "candidate", "exec"), space)
    for case in operation.make_cases(CPU, 4):
        output = space["problem_kernel_impl"](*case.call.args)
        assert torch.equal(output, operation.reference(*case.call.args))
