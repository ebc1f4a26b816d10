"""The walls around one candidate: what the machine's kernel offers, best first.

- ``namespaces``: its own user, mount, network, process, IPC and host-name namespaces; a read-only root that holds
  Python, its packages and the system's libraries and nothing else; a private, bounded /tmp; only its own GPU.
- ``landlock``: the same rules for files once more, and no TCP; holds where namespaces are forbidden too.
- ``seccomp``: no ptrace, no new namespaces, no sockets, no changes of scheduling; without processes for Numba.
- ``cgroup``: memory and processes of the whole tree.
- ``rlimits``: the same per process, everywhere.
A layer that the machine lacks is left out and named; see ``probe``.
"""

from .advice import SandboxTooWeak, warning
from .probe import Layers, probe
from .process import SandboxedChild, kill_tree, spawn
from .spec import SandboxSpec

__all__ = [
    "Layers",
    "SandboxSpec",
    "SandboxTooWeak",
    "SandboxedChild",
    "kill_tree",
    "probe",
    "spawn",
    "warning",
]
