"""Correctness cases that OpInfo lacks, one file per family.

- Each family has ``cases(row, draw, dtypes)``: a generator of ``Case`` for a row of the table of well-known operations.
- The first cases tell most about a wrong kernel: the evaluator sends them first.
- Names, shapes and order never depend on the seed; values do.
"""
