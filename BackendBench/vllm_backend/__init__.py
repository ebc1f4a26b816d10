"""The public API: nothing else is promised to stay."""

from .state.store import KernelStore

__all__ = ["KernelStore"]
