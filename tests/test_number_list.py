"""Numbers as people and Linux list them."""

from __future__ import annotations

import pytest

from BackendBench.vllm_backend.number_list import parsed


def test_numbers_are_read_as_linux_lists_them():
    assert parsed("0") == [0]
    assert parsed("0,32-34") == [0, 32, 33, 34]
    assert parsed("4-6, 1") == [4, 5, 6, 1]


@pytest.mark.parametrize("text", ["", "a", "1,", "1-", "-1", "1-b", "1;2"])
def test_what_is_no_list_is_refused(text: str):
    with pytest.raises(ValueError, match="neither a number nor a range"):
        parsed(text)
