"""Errors of this folder that a user can mend. Each message is one line."""

from __future__ import annotations


class UnknownOperation(ValueError):
    """No operation of that name."""


class BadOperationFile(UnknownOperation):
    """A user's own operation file cannot be used: missing, not importable, or without what it must define."""
