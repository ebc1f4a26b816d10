"""Every layer of the sandbox by itself: what a process behind it can no longer do.

A probe runs in the sandboxed process and writes one line of JSON to a pipe that it inherits.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import os
import resource
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from BackendBench.vllm_backend.evaluation import sandbox
from BackendBench.vllm_backend.evaluation.candidate.stepping_back import step_back
from BackendBench.vllm_backend.evaluation.correctness.compiling import FIRST_NICE, REST_NICE
from BackendBench.vllm_backend.evaluation.sandbox import (
    SandboxedChild,
    SandboxSpec,
    kill_tree,
    limits,
    root,
    spawn,
)
from BackendBench.vllm_backend.evaluation.sandbox.process import SandboxError
from BackendBench.vllm_backend.evaluation.sandbox.spec import Layer

ACTIVE = sandbox.probe().active
MIB = 1 << 20


def needs(*layers: Layer) -> pytest.MarkDecorator:
    missing = [layer for layer in layers if layer not in ACTIVE]
    return pytest.mark.skipif(bool(missing), reason=f"this machine has no {', '.join(missing)}")


SHOWN = {
    Path(path).relative_to("/tmp").parts[0] for path in root.readable_paths() if path.startswith("/tmp/")
}
"""What must be seen in /tmp where the farm itself is installed there."""


def names(folder: str) -> list[str]:
    """What lies in a folder, beside SHOWN."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name not in SHOWN)


def spec(**changed: Any) -> SandboxSpec:
    given = {
        "memory_bytes": 512 * MIB,
        "tmp_bytes": 8 * MIB,
        "processes": 32,
        "target": "cpu",
        "layers": ACTIVE,
    }
    return SandboxSpec(**{**given, **changed})


def inside(probe: Callable[[], Any], **changed: Any) -> Any:
    """What ``probe`` returns behind the sandbox, or the name of the OSError that it meets."""
    reading, writing = os.pipe()

    def main() -> None:
        try:
            answer = probe()
        except OSError as error:
            answer = errno.errorcode.get(error.errno or 0, str(error))
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)

    child = spawn(spec(**changed), main)
    os.close(writing)
    text = b""
    while chunk := os.read(reading, 65536):
        text += chunk
    os.close(reading)
    _end(child)
    return json.loads(text) if text else None


def status_of(main: Callable[[], Any], **changed: Any) -> int:
    """The wait status of a process that runs ``main``."""
    child = spawn(spec(**changed), main)
    status = child.wait()
    os.close(child.pidfd)
    return status


def _end(child: SandboxedChild) -> None:
    kill_tree(child)
    child.wait()
    os.close(child.pidfd)


def test_it_inherits_the_descriptors_that_it_is_to_have_and_no_others() -> None:
    """However many there are: more than it may have open."""
    reading, writing = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * limits.OPEN_FILES), hard))
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(limits.OPEN_FILES + 100)]

    def main() -> None:
        found = [number for number in range(3, limits.OPEN_FILES) if is_open(number)]
        os.write(writing, json.dumps(found).encode())
        os._exit(0)

    try:
        child = spawn(spec(), main, [writing])
    finally:
        for number in others:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123
        assert json.loads(file.read()) == [writing]
    _end(child)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@needs("namespaces")
def test_it_is_the_only_process_that_it_can_see() -> None:
    assert inside(lambda: [p for p in names("/proc") if p.isdigit()]) == ["1"]
    assert inside(os.getpid) == 1


@needs("namespaces")
def test_the_network_has_nothing_but_a_loopback_that_is_down() -> None:
    assert inside(lambda: [name for _, name in socket.if_nameindex()], layers=("namespaces",)) == ["lo"]
    assert _connect_outcome(("namespaces",)) in ("ENETUNREACH", "EADDRNOTAVAIL", "ECONNREFUSED")


@needs("seccomp")
def test_no_socket_of_any_family_can_be_made() -> None:
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
        assert (
            inside(lambda family=family: str(socket.socket(family, socket.SOCK_DGRAM)), layers=("seccomp",))
            == "EPERM"
        )


def _connect_outcome(layers: tuple[Layer, ...]) -> Any:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        return inside(lambda: str(socket.create_connection(("127.0.0.1", port), timeout=5)), layers=layers)


@needs("landlock")
def test_landlock_alone_allows_no_tcp_and_shows_no_files() -> None:
    outcome = _connect_outcome(("landlock",))
    assert outcome in ("EACCES", "EPERM") or "socket" in str(outcome)  # network rules need ABI 4
    assert inside(lambda: names("/root"), layers=("landlock",)) in ("EACCES", "EPERM")


@needs("namespaces")
@pytest.mark.parametrize("path", ["/usr/owned", "/etc/owned", "/owned", "/dev/owned"])
def test_the_root_is_read_only(path: str) -> None:
    assert inside(lambda: Path(path).write_text("x"), layers=("namespaces",)) in (
        "EROFS",
        "EACCES",
        "EPERM",
        "ENOENT",
    )


@needs("namespaces")
def test_nobody_is_at_home(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    home = str(Path.home())
    shown = inside(lambda: names(home))
    python = {
        Path(path).relative_to(home).parts[0] for path in root.readable_paths() if path.startswith(f"{home}/")
    }
    assert shown in ("ENOENT", "EACCES") or set(shown) <= python
    assert inside(lambda: (tmp_path / "secret").read_text()) in ("ENOENT", "EACCES")


def test_the_way_to_a_path_names_every_link(tmp_path: Path) -> None:
    real = tmp_path / "disk" / "python" / "lib"
    real.mkdir(parents=True)
    (tmp_path / "home").symlink_to("disk")
    (tmp_path / "disk" / "current").symlink_to(tmp_path / "disk" / "python")
    asked = tmp_path / "home" / "current" / "lib"
    links = [str(tmp_path / "home"), str(tmp_path / "disk" / "current")]
    assert root.way_to(str(asked)) == [*links, str(real)]
    assert root.way_to(str(real)) == [str(real)]


@needs("landlock")
def test_landlock_alone_opens_the_end_of_a_way_and_nothing_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        (Path(folder) / "disk" / "lib").mkdir(parents=True)
        (Path(folder) / "disk" / "lib" / "here").write_text("yes")
        (Path(folder) / "disk" / "secret").write_text("no")
        (Path(folder) / "home").symlink_to("disk")
        monkeypatch.setenv("CUDA_HOME", f"{folder}/home/lib")

        def read(name: str) -> Any:
            return inside(lambda: Path(f"{folder}/home/{name}").read_text(), layers=("landlock",))

        assert (read("lib/here"), read("secret")) == ("yes", "EACCES")


def test_a_way_that_leads_over_a_link_and_back_ends_where_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "real" / "lib").mkdir(parents=True)
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "cur").symlink_to("far/away")
    (tmp_path / "far" / "lib").symlink_to(tmp_path / "real" / "lib")
    (tmp_path / "lnk").symlink_to("cur/../lib")
    assert root.way_to(str(tmp_path / "lnk"))[-1] == str(tmp_path / "real" / "lib")


@needs("namespaces")
@pytest.mark.parametrize("below_tmp", [True, False])
def test_an_installation_that_links_lead_to_is_there(
    below_tmp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment is often one, and whoever misses half of its Python fails for no fault of his."""
    with tempfile.TemporaryDirectory(dir="/tmp" if below_tmp else "/var/tmp") as folder:
        (Path(folder) / "disk" / "lib").mkdir(parents=True)
        (Path(folder) / "disk" / "lib" / "here").write_text("yes")
        (Path(folder) / "home").symlink_to("disk")
        (Path(folder) / "env").symlink_to(Path(folder) / "home" / "lib")
        monkeypatch.setenv("CUDA_HOME", f"{folder}/env")
        assert inside(lambda: Path(f"{folder}/env/here").read_text()) == "yes"
        assert inside(lambda: Path(f"{folder}/env/more").write_text("no")) in ("EROFS", "EACCES")


@needs("namespaces")
def test_an_installation_below_tmp_is_shown_and_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "module.py").write_text("x = 1\n")
        shown = [*root.readable_paths(), folder]
        monkeypatch.setattr(root, "readable_paths", lambda: shown)

        def probe() -> list[str]:
            found = [*names("/tmp"), *names(folder), str(Path("/tmp/x").write_text("x"))]
            try:
                (Path(folder) / "module.py").write_text("x = 2\n")
            except OSError as error:
                found.append(errno.errorcode[error.errno or 0])
            return found

        found = inside(probe)
    assert found[:3] == [Path(folder).name, "module.py", "1"]
    assert found[3:] in (["EROFS"], ["EACCES"])


@needs("namespaces")
def test_tmp_is_its_own_bounded_and_gone_afterwards() -> None:
    name = f"/tmp/from-within-{os.getpid()}"
    assert inside(lambda: [names("/tmp"), Path(name).write_text("x")]) == [[], 1]
    assert not Path(name).exists()
    assert inside(lambda: names("/tmp")) == []

    def fill() -> None:
        for number in range(64):
            Path(f"/tmp/{number}").write_bytes(b"x" * MIB)

    assert inside(fill, tmp_bytes=8 * MIB) == "ENOSPC"


@needs("rlimits")
def test_one_file_cannot_outgrow_tmp_nor_descriptors_the_table() -> None:
    def grow() -> None:
        descriptor = os.memfd_create("large")
        for _ in range(64):
            os.write(descriptor, b"x" * MIB)

    assert inside(grow, tmp_bytes=8 * MIB) == "EFBIG"
    assert inside(lambda: [os.open("/dev/null", os.O_RDONLY) for _ in range(10_000)]) == "EMFILE"
    assert inside(lambda: os.sysconf("SC_OPEN_MAX")) == 4096


@needs("cgroup")
def test_memory_beyond_the_limit_kills_it() -> None:
    def take() -> None:
        kept = []
        while True:
            kept.append(b"x" * (16 * MIB))

    status = status_of(take, memory_bytes=256 * MIB)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_groups_that_a_killed_server_left_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ROOT", tmp_path)
    for controller in ("memory", "pids"):
        for name in ("left", "just_made", "in_use"):
            (tmp_path / controller / limits.PARENT / name).mkdir(parents=True)
        (
            tmp_path / controller / limits.PARENT / "in_use" / "as_if"
        ).touch()  # cgroups have no files of their own
        for name in ("left", "in_use"):
            os.utime(tmp_path / controller / limits.PARENT / name, (0, 0))
    limits.sweep()
    limits.sweep()
    for controller in ("memory", "pids"):
        kept = {group.name for group in (tmp_path / controller / limits.PARENT).iterdir()}
        assert kept == {"just_made", "in_use"}


def test_nothing_is_swept_where_there_are_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROOT", tmp_path)
    limits.sweep()
    assert list(tmp_path.iterdir()) == []


@needs("cgroup")
def test_processes_beyond_the_limit_are_refused() -> None:
    def fork() -> int:
        for made in range(1000):
            try:
                pid = os.fork()
            except OSError:
                return made
            if pid == 0:
                time.sleep(600)
        return 1000

    assert inside(fork, target="cuda", processes=16) < 16


@needs("namespaces")
def test_nothing_outlives_it() -> None:
    def leave_one() -> int:
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        return 0

    before = _sleepers()
    inside(leave_one, target="cuda")
    assert _sleepers() == before


def _sleepers() -> int:
    """Living processes of this test's own descent that were forked by a sandboxed one."""
    mine = os.getpid()
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += fields[0] not in "ZX" and int(fields[1]) == mine
    return found


def test_exit_codes_and_signals_are_those_of_the_process() -> None:
    assert os.WEXITSTATUS(status_of(lambda: os._exit(7))) == 7
    assert status_of(lambda: os._exit(0)) == 0
    # The first process of a namespace is not killed by signals that it sends itself: faults do kill it.
    status = status_of(lambda: (faulthandler.disable(), ctypes.string_at(0)))
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV


def test_a_process_that_raises_ends_with_code_one() -> None:
    def fail() -> None:
        os.close(2)  # its traceback is nobody's business here
        raise RuntimeError

    assert os.WEXITSTATUS(status_of(fail)) == 1


def test_killing_the_tree_twice_is_no_error() -> None:
    child = spawn(spec(), lambda: time.sleep(600))
    kill_tree(child)
    kill_tree(child)
    assert os.WIFSIGNALED(child.wait())
    os.close(child.pidfd)


@needs("seccomp")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ptrace", (16, 1, 0, 0)), ("unshare", (0x10000000,)), ("setns", (0, 0)), ("chroot", (b"/",)),
        ("mount", (b"a", b"/", b"tmpfs", 0, 0)), ("sched_setaffinity", (0, 8, b"\xff" * 8)),
        ("setpriority", (0, 0, 4)), ("setpriority", (0, 0, -1)),
        ("setpriority", (0, 1, 10)), ("setpriority", (2, 0, 10)), ("socket", (2, 1, 0)),
        ("process_vm_readv", (1, 0, 0, 0, 0, 0)),
    ],
)  # fmt: skip
def test_the_filter_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    def call() -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        result = getattr(libc, name)(*arguments)
        return [result, errno.errorcode.get(ctypes.get_errno(), "")]

    assert inside(call, layers=("seccomp",)) == [-1, "EPERM"]


@needs("seccomp")
def test_whoever_compiles_may_step_back() -> None:
    def twice() -> list[int]:
        step_back(FIRST_NICE)
        first = os.getpriority(os.PRIO_PROCESS, 0)
        step_back(REST_NICE)
        return [first, os.getpriority(os.PRIO_PROCESS, 0)]

    assert inside(twice, layers=("seccomp",)) == [FIRST_NICE, REST_NICE]


@needs("seccomp")
def test_a_cpu_candidate_starts_no_process_and_a_gpu_one_may() -> None:
    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return 0

    assert inside(fork, target="cpu", layers=("seccomp",)) == "EPERM"
    assert inside(fork, target="cuda", layers=("seccomp",)) == 0


def test_capabilities_and_new_privileges_are_gone() -> None:
    def state() -> dict[str, str]:
        lines = Path("/proc/self/status").read_text().splitlines()
        pairs = dict(line.split(":", 1) for line in lines)
        return {key: pairs[key].strip() for key in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")}

    found = inside(state)
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0
    assert found["NoNewPrivs"] == "1"


@needs("seccomp")
def test_the_filter_is_in_force() -> None:
    assert inside(lambda: "Seccomp:\t2" in Path("/proc/self/status").read_text()) is True


@needs("namespaces")
def test_a_layer_that_cannot_be_made_makes_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "mount refused")

    monkeypatch.setattr(root, "enter", fail)
    with pytest.raises(SandboxError, match="mount refused"):
        spawn(spec(), lambda: os._exit(0))


def test_a_machine_is_strong_only_with_all_that_matters_most() -> None:
    everything = sandbox.Layers(("namespaces", "landlock", "seccomp", "cgroup", "rlimits"), {})
    assert everything.strong and everything.mend() == ""
    without = sandbox.Layers(("namespaces", "cgroup", "rlimits"), {"seccomp": "no library"})
    assert not without.strong
    assert "libseccomp2" in without.mend() and "missing: seccomp" in str(without)
