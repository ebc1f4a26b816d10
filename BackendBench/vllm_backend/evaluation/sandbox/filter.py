"""The system-call filter, through libseccomp.

- Default allow, with a list of what no kernel needs and attacks do: a list of what is allowed would break with every
  new driver, and files, network and processes have walls of their own.
- A refused call fails with EPERM; ``clone3`` says ENOSYS, so that libc falls back to ``clone``, whose flags the filter
  can read.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from . import syscalls
from .spec import SandboxSpec

REFUSED = (
    # other processes' memory, descriptors and fate
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "pidfd_open",
    # namespaces and mounts
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsmount",
    "fsconfig", "fspick", "mount_setattr", "name_to_handle_at", "open_by_handle_at",
    # the kernel itself
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "init_module",
    "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct",
    "quotactl", "syslog", "lookup_dcookie", "fanotify_init", "vhangup", "iopl", "ioperm", "modify_ldt", "personality",
    # clocks and keys
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "add_key", "keyctl", "request_key",
    # identity
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
    # more cores or a better place in the queue than eager has
    "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "ioprio_set",
    "mbind", "migrate_pages", "move_pages",
    # talking to others
    "connect", "bind", "listen", "accept", "accept4", "mq_open", "msgget", "semget", "shmget",
)  # fmt: skip
NAMESPACE_FLAGS = (
    syscalls.CLONE_NEWNS, syscalls.CLONE_NEWUTS, syscalls.CLONE_NEWIPC, syscalls.CLONE_NEWUSER, syscalls.CLONE_NEWPID,
    syscalls.CLONE_NEWNET, 0x02000000,
)  # fmt: skip
CLONE_THREAD = 0x00010000
MODEST, MOST_MODEST = 5, 19
"""Nice values; negative ones are large where numbers have no sign."""
FAMILIES = 64
"""Socket families that any Linux knows: 46 so far."""
AF_UNIX = 1
DRIVER_CALLS = {"bind", "listen"}
"""CUDA does not start where it cannot make, bind and listen on a socket of AF_UNIX (seen with driver 580); it needs no
other family and connects to nobody, so ``connect`` and ``accept`` stay refused."""


def available() -> str:
    """'' where the filter can be made, else why not."""
    try:
        import pyseccomp  # noqa: F401
    except Exception as error:  # RuntimeError where the shared library is missing
        return f"{type(error).__name__}: {error}"
    return ""


def install(spec: SandboxSpec) -> None:
    """Filter this process and all that it starts. Raises OSError, RuntimeError."""
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
    driver = spec.target == "cuda"
    for name in sorted(set(REFUSED) - (DRIVER_CALLS if driver else set())):
        _add(rules, seccomp.ERRNO(errno.EPERM), name)
    _add(rules, seccomp.ERRNO(errno.ENOSYS), "clone3")
    # Nobody gives himself a better place in the queue than eager has, nor anybody else a worse one; a thread that
    # compiles may step back.
    for beyond in (
        seccomp.Arg(0, seccomp.NE, os.PRIO_PROCESS), seccomp.Arg(1, seccomp.NE, 0),
        seccomp.Arg(2, seccomp.LT, MODEST), seccomp.Arg(2, seccomp.GT, MOST_MODEST),
    ):  # fmt: skip
        _add(rules, seccomp.ERRNO(errno.EPERM), "setpriority", beyond)
    for family in range(FAMILIES):  # socketpair, which needs no peer, stays
        if not (driver and family == AF_UNIX):
            _add(rules, seccomp.ERRNO(errno.EPERM), "socket", seccomp.Arg(0, seccomp.EQ, family))
    for flag in NAMESPACE_FLAGS:
        _add(rules, seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    if not spec.may_fork:
        for name in ("fork", "vfork", "execve", "execveat"):
            _add(rules, seccomp.ERRNO(errno.EPERM), name)
        _add(rules, seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    rules.load()


def _add(rules: Any, action: Any, name: str, *arguments: Any) -> None:
    """A call that this kernel or architecture does not know needs no rule."""
    try:
        rules.add_rule(action, name, *arguments)
    except (OSError, RuntimeError, ValueError):
        return
