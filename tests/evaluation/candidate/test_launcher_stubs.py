"""Triton's stubs are compiled once; the launcher for all kernels stands in for those that it can stand in for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from BackendBench.vllm_backend.evaluation.candidate import launcher_stubs
from BackendBench.vllm_backend.evaluation.candidate.launcher_stubs import Stubs, kinds


class Driver(SimpleNamespace):
    """The parts of triton.backends.nvidia.driver that stubs go through; compiling is counted."""

    def __init__(self, called_with: str = launcher_stubs.UNDERSTOOD) -> None:
        super().__init__(
            compiled=[], include_dirs=[], libraries=[], library_dirs=lambda: [], _BASE_ARGS_FORMAT=called_with
        )

    def compile_module_from_src(self, src: str, name: str, **_: Any) -> object:
        self.compiled.append(name)
        return SimpleNamespace(launch=lambda *given: (name, *given))

    def make_launcher(self, constants: Any, types: dict[str, str], tensordesc_meta: Any) -> str:
        return "launch " + " ".join(types.values())

    def launch(self, *given: Any, **types: str) -> Any:
        """As Triton's CudaLauncher gets a launcher and calls it."""
        text = self.make_launcher({}, types, None)
        return self.compile_module_from_src(src=text, name="__triton_launcher").launch(*given)


def test_one_launcher_is_compiled_for_all_kernels():
    driver = Driver()
    Stubs(driver).build()
    assert driver.launch(1, 2, x="*fp32", n="i32", BLOCK="constexpr") == ("kernel_launcher", "Pi-", 1, 2)
    assert driver.launch(3, y="*bf16", e="fp64") == ("kernel_launcher", "Pd", 3)
    assert driver.compiled == ["kernel_launcher"]


def test_what_it_cannot_pass_is_left_to_triton():
    driver = Driver()
    Stubs(driver).build()
    for _ in range(2):
        assert driver.launch(1, x="tensordesc<fp16[64, 64]>", n="i32") == ("__triton_launcher", 1)
    assert driver.compiled == ["kernel_launcher", "__triton_launcher"]


def test_a_triton_that_calls_its_launchers_otherwise_keeps_its_own():
    driver = Driver(called_with="iiiKKOOOO")
    Stubs(driver).build()
    assert driver.launch(1, x="*fp32") == ("__triton_launcher", 1)


def test_a_triton_without_launchers_shares_the_driver_alone():
    compiled = []
    bare = SimpleNamespace(
        compile_module_from_src=lambda src, name: compiled.append(name) or SimpleNamespace()
    )
    Stubs(bare).build()
    for _ in range(2):
        bare.compile_module_from_src(src="driver", name="cuda_utils")
    assert compiled == ["cuda_utils"]


@pytest.mark.parametrize(
    "types",
    [
        {"x": "tensordesc<fp16[64]>"},
        {"x": ("*fp32", "i32")},
        {"x": "nvTmaDesc"},
        dict.fromkeys(range(129), "i32"),
    ],
)
def test_kinds_of_what_it_cannot_pass(types: dict[Any, Any]):
    assert kinds(types) is None


def test_kinds():
    assert kinds({}) == ""
    assert kinds({"x": "*fp32", 1: "constexpr", "n": "i64", "eps": "fp32"}) == "P-Lf"
