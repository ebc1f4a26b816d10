"""The names that users type into redis-cli never change, and two different things never share a name."""

from __future__ import annotations

import inspect
import re
from importlib import resources
from itertools import combinations

from BackendBench.vllm_backend.state.keys import Keys


def test_the_names_that_users_type() -> None:
    assert Keys.EVAL_QUEUE == "eval_queue"
    assert Keys.COMPLETED_TASKS == "completed_tasks"
    assert Keys.GENERATION_QUEUE == "generation_queue"
    assert Keys.kernel("relu", "abc") == "kernel:relu:abc"
    assert Keys.op_kernels("relu") == "op_kernels:relu"
    assert Keys.op_stats("relu") == "op_stats:relu"
    assert Keys.shutdown("run/evaluate-0") == "shutdown:run/evaluate-0"
    assert Keys.SHUTDOWN_PATTERN == "shutdown:*"
    assert Keys.worker("run/evaluate-0") == "worker:run/evaluate-0"


def test_no_two_kinds_of_key_share_a_name() -> None:
    names = [value for name, value in vars(Keys).items() if name.isupper() and name != "SHUTDOWN_PATTERN"]
    for name, value in vars(Keys).items():
        made = getattr(Keys, name)
        if isinstance(value, staticmethod):
            names.append(made(*["x"] * len(inspect.signature(made).parameters)))
    assert len(names) > 20
    assert [pair for pair in combinations(names, 2) if pair[0] == pair[1]] == []


def test_every_queue_has_books_of_its_own() -> None:
    ours, theirs = Keys.queue(Keys.EVAL_QUEUE), Keys.queue(Keys.GENERATION_QUEUE)
    assert len({*ours, *theirs}) == 10


def test_no_script_builds_the_name_of_a_key() -> None:
    """Every key of a command is an element of KEYS or was made from one; never a literal, never joined."""
    folder = resources.files("BackendBench.vllm_backend.state") / "lua"
    call = re.compile(r"redis\.call\((?:'\w+'|fault and 'RPUSH' or 'LPUSH'),\s*([^,)]+)")
    scripts = [file for file in folder.iterdir() if file.name.endswith(".lua")]
    assert len(scripts) > 10
    for script in scripts:
        for key in call.findall(script.read_text("utf-8")):
            assert "'" not in key and '"' not in key and ".." not in key, (script.name, key)
