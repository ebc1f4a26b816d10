"""Tables give up spare columns where there is no room, and nothing else."""

from __future__ import annotations

from BackendBench.vllm_backend.monitor.table import Column, Table, columns, fitted

WIDE = Table(
    "t", "T", columns("operation", "first", "second", "third", last="remark", spare=frozenset({"first", "third"})),
    (("relu", "1", "2", "3", "fine"),),
)  # fmt: skip


def names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def test_a_table_that_fits_stays() -> None:
    assert fitted(WIDE, 100) is WIDE


def test_spare_columns_go_from_the_right_with_their_cells() -> None:
    # 12 + 8 + 9 + 8 + 9 characters
    assert names(fitted(WIDE, 45)) == ["operation", "first", "second", "remark"]
    narrow = fitted(WIDE, 10)
    assert names(narrow) == ["operation", "second", "remark"]
    assert narrow.rows == (("relu", "2", "fine"),)


def test_a_long_name_may_break_between_words() -> None:
    table = Table("t", "T", (Column("a name of many words", spare=True),), (("1",),))
    assert fitted(table, 8) is table
