"""The wheel: complete, and a namespace package that lives beside a regular package of the same name."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment or None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines()
    for name in tracked:
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        folder,
    ]
    run(*command, cwd=source)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = run("git", "ls-files", "-co", "--exclude-standard", "BackendBench", cwd=ROOT).splitlines()
    there = {name for name in tracked if (ROOT / name).is_file()}
    assert names == there


def test_the_namespace_belongs_to_nobody(wheel: Path) -> None:
    assert "BackendBench/__init__.py" not in zipfile.ZipFile(wheel).namelist()
    assert not (ROOT / "BackendBench" / "__init__.py").exists()


def install(wheel: Path, prefix: Path) -> Path:
    """Install as pip installs into an environment; the folder of the packages."""
    command = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
        "--prefix",
        prefix,
    ]
    run(sys.executable, *command, wheel, cwd=prefix)
    return packages(prefix)


def packages(prefix: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)}))


PROGRAM = """
import sys
from BackendBench.vllm_backend import KernelStore
import BackendBench.vllm_backend as farm
assert farm.__file__.startswith(sys.argv[1]), farm.__file__
assert KernelStore.__module__.startswith("BackendBench.vllm_backend")
print("farm")
if len(sys.argv) > 2:
    import BackendBench, BackendBench.suite
    assert BackendBench.__file__.startswith(sys.argv[1]), BackendBench.__file__
    print(BackendBench.suite.NAME)
"""


def test_it_works_alone(wheel: Path, tmp_path: Path) -> None:
    site = install(wheel, tmp_path)
    assert run(sys.executable, "-c", PROGRAM, site, cwd=tmp_path, PYTHONPATH=str(site)) == "farm\n"


def test_it_installs_beside_a_regular_package_of_that_name(wheel: Path, tmp_path: Path) -> None:
    site = packages(tmp_path)
    regular = site / "BackendBench"
    regular.mkdir(parents=True)
    (regular / "__init__.py").write_text('"""A regular package."""\n')
    (regular / "suite.py").write_text('NAME = "regular"\n')
    install(wheel, tmp_path)
    assert (regular / "__init__.py").read_text() == '"""A regular package."""\n'
    output = run(sys.executable, "-c", PROGRAM, site, "both", cwd=tmp_path, PYTHONPATH=str(site))
    assert output == "farm\nregular\n"


def test_the_console_command_is_named_and_works(wheel: Path, tmp_path: Path) -> None:
    site = install(wheel, tmp_path)
    command = Path(sysconfig.get_path("scripts", vars={"base": str(tmp_path)})) / "backendbench-vllm"
    output = run(sys.executable, command, "--help", cwd=tmp_path, PYTHONPATH=str(site))
    assert "Usage: backendbench-vllm" in output


def test_requirements_bring_the_project_itself_and_one_torch() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    wanted = [line for line in lines if line]
    assert "." in wanted
    assert [line for line in wanted if line.startswith("torch")] == ["torch==2.13.0"]
    assert not [line for line in wanted if "vllm" in line.lower()]
    with_vllm = (ROOT / "requirements-vllm.txt").read_text()
    assert "-r requirements.txt" in with_vllm and "\nvllm>=" in with_vllm
