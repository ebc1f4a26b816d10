"""What an exception, an exit or silence is called, and what may stand in a message."""

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.failure import (
    MESSAGE_CHARACTERS,
    Failure,
    from_exception,
    from_exit,
    from_timeout,
    shorten,
)
from BackendBench.vllm_backend.state.error_type import ErrorType


@pytest.mark.parametrize(
    ("description", "error_type"),
    [
        ({"type": "MissingFunction", "message": "no function f"}, "missing_function"),
        ({"type": "MemoryError", "message": ""}, "out_of_memory"),
        ({"type": "OutOfMemoryError", "module": "torch", "message": "CUDA"}, "out_of_memory"),
        ({"type": "RuntimeError", "message": "CUDA error: out of memory"}, "out_of_memory"),
        ({"type": "OSError", "message": "[Errno 12] Cannot allocate memory"}, "out_of_memory"),
        (
            {"type": "RuntimeError", "message": "CUDA error: an illegal memory access was"},
            "illegal_memory_access",
        ),
        ({"type": "AcceleratorError", "message": "misaligned address"}, "illegal_memory_access"),
        (
            {"type": "AcceleratorError", "message": "operation not supported on global/shared address space"},
            "illegal_memory_access",
        ),
        ({"type": "SyntaxError", "message": "bad"}, "syntax_error"),
        ({"type": "IndentationError", "message": "bad", "at_load": True}, "syntax_error"),
        (
            {"type": "CompilationError", "module": "triton.compiler.errors", "message": "at 3:4"},
            "compile_error",
        ),
        (
            {"type": "OutOfResources", "module": "triton.runtime.errors", "message": "shared memory"},
            "compile_error",
        ),
        ({"type": "TypingError", "module": "numba.core.errors", "message": "no"}, "compile_error"),
        ({"type": "LoweringError", "module": "numba.np", "message": "no"}, "compile_error"),
        (
            {"type": "RuntimeError", "module": "torch.utils.cpp_extension", "message": "ninja"},
            "compile_error",
        ),
        ({"type": "ModuleNotFoundError", "message": "no module", "at_load": True}, "import_error"),
        ({"type": "NameError", "message": "x", "at_load": True}, "import_error"),
        ({"type": "NameError", "message": "x"}, "runtime_error"),
        ({"type": "RuntimeError", "message": "boom"}, "runtime_error"),
        ({"type": "SystemExit", "message": "0"}, "runtime_error"),
        ({}, "runtime_error"),
    ],
)
def test_an_exception_has_one_name(description, error_type):
    found = from_exception(description, "a case")
    assert found.error_type.value == error_type
    assert found.case == "a case"


def test_a_message_says_what_was_raised_and_where():
    found = from_exception({"type": "ValueError", "message": " bad \n", "where": "line 3: f(x)"})
    assert found.message == "ValueError: bad\n  at line 3: f(x)"


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["type", "module", "message", "where", "at_load"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    )
)
def test_whatever_a_process_says_is_a_failure_with_a_printable_message(description):
    found = from_exception(description)
    assert isinstance(found.error_type, ErrorType)
    assert all(c.isprintable() or c in "\n\t" for c in found.message)


@pytest.mark.parametrize(
    ("status", "error_type", "words"),
    [
        (signal.SIGXCPU, "timeout", "processor time"),
        (signal.SIGKILL, "out_of_memory", "memory limit"),
        (signal.SIGSEGV, "crash", "SIGSEGV"),
        (signal.SIGSEGV | 0x80, "crash", "SIGSEGV"),  # with a core dump
        (64 - 1, "crash", "signal 63"),
        (0, "crash", "exit code 0"),
        (3 << 8, "crash", "exit code 3"),
    ],
)
def test_a_death_is_named_by_its_wait_status(status, error_type, words):
    found = from_exit(int(status), "the correctness cases", "a case")
    assert found.error_type.value == error_type
    assert words in found.message
    assert "during the correctness cases" in found.message
    assert found.case == "a case"


def test_silence_is_a_timeout_with_its_limit():
    found = from_timeout("timing", 6.0, "a case")
    assert (found.error_type, found.message) == (ErrorType.TIMEOUT, "no answer within 6 s during timing")


def test_a_message_can_neither_forge_lines_nor_move_the_cursor():
    assert shorten("a\x1b[2J\rb\x00\u202e\ud800") == "a\\x1b[2J\\x0db\\x00\\x202e\\xd800"
    assert shorten("two\n\tlines") == "two\n\tlines"


def test_a_failure_made_by_anybody_is_shortened_too():
    found = from_exception({"type": "MissingFunction", "message": "\x1b" + "x" * 10_000})
    assert found.message.startswith("\\x1b")
    assert len(found.message) <= MESSAGE_CHARACTERS


@settings(deadline=None)
@given(st.text(max_size=400), st.integers(min_value=20, max_value=100))
def test_shortening_keeps_both_ends_within_the_limit_and_does_nothing_twice(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    assert shorten(short, limit) == short
    if text.isascii() and text.isprintable():
        half = limit // 2 - 3
        assert (
            short == text
            if len(text) <= limit
            else short[:half] == text[:half] and short.endswith(text[-half:])
        )


def test_a_long_message_is_cut_to_what_a_prompt_can_hold():
    assert len(Failure(ErrorType.CRASH, "x" * 100_000).message) <= MESSAGE_CHARACTERS
