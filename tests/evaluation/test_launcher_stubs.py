"""Triton's stubs are compiled once and found again; what candidates tell of their needs is checked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation import launcher_stubs
from BackendBench.vllm_backend.evaluation.launcher_stubs import COMMON, POINTER, SCALARS, Stubs, told


class Driver(SimpleNamespace):
    """The parts of triton.backends.nvidia.driver that stubs go through; compiling is counted."""

    def __init__(self) -> None:
        super().__init__(compiled=[], include_dirs=[], libraries=[], library_dirs=lambda: [])

    def compile_module_from_src(self, src: str, name: str, **_: Any) -> object:
        self.compiled.append((name, src))
        return SimpleNamespace(text=src)

    def make_launcher(self, constants: Any, signature: dict[Any, str], tensordesc_meta: Any) -> str:
        return "launch " + " ".join("O" if t.startswith("*") else t for t in signature.values())

    def launch(self, **signature: str) -> Any:
        """As Triton's CudaLauncher asks for a launcher."""
        text = self.make_launcher({}, signature, None)
        return self.compile_module_from_src(src=text, name="__triton_launcher", library_dirs=[])


def test_a_launcher_is_compiled_once_and_told_once():
    driver = Driver()
    stubs = Stubs(driver)
    first = driver.launch(x="*fp32", n="i32", BLOCK="constexpr")
    assert driver.launch(y="*bf16", m="i32", B="constexpr") is first
    assert len(driver.compiled) == 1
    assert stubs.missed() == [("*fp32", "i32", "constexpr")]
    assert stubs.missed() == []


def test_what_was_built_ahead_is_neither_compiled_nor_told():
    driver = Driver()
    stubs = Stubs(driver)
    for signature in COMMON:
        stubs.build(signature)
    compiled = len(driver.compiled)
    driver.launch(x="*fp16", y="*fp16", n="i32", BLOCK="constexpr")
    assert len(driver.compiled) == compiled == len(COMMON)
    assert stubs.missed() == []


def test_the_driver_itself_is_compiled_once_and_is_no_launcher():
    driver = Driver()
    stubs = Stubs(driver)
    for _ in range(2):
        driver.compile_module_from_src(src="driver", name="cuda_utils")
    assert driver.compiled == [("cuda_utils", "driver")]
    assert stubs.missed() == []


def test_launchers_with_descriptors_are_left_to_the_candidate():
    driver = Driver()
    stubs = Stubs(driver)
    driver.launch(x="tensordesc<fp16[64, 64]>", n="i32")
    assert stubs.missed() == []


def test_a_triton_without_launchers_shares_the_driver_alone():
    driver = Driver()
    bare = SimpleNamespace(compile_module_from_src=driver.compile_module_from_src)
    stubs = Stubs(bare)
    stubs.build(COMMON[0])
    for _ in range(2):
        bare.compile_module_from_src(src="driver", name="cuda_utils")
    assert len(driver.compiled) == 1


@pytest.mark.parametrize(
    "raw",
    [
        None, "i32", {"i32": 1}, [[]], ["i32"], [["i32", 4]], [["i32", "void* x; system(0)"]], [["i32"] * 49],
        [["tensordesc<fp16[64]>"]], [["i32", ["i32"]]],
    ],
)  # fmt: skip
def test_what_is_no_signature_is_not_believed(raw: object):
    assert told(raw) == []


def test_pointers_are_alike_and_only_a_few_signatures_are_heard():
    assert told([["*fp16", "*i64", "i32"]]) == [(POINTER, POINTER, "i32")]
    assert len(told([["i32"]] * 100)) == launcher_stubs.MOST_TOLD


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=9)))
def test_whatever_is_told_only_names_of_types_come_through(raw: object):
    for signature in told(raw):
        assert signature
        assert all(name == POINTER or name in SCALARS for name in signature)
