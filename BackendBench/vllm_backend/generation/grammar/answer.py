"""What stands around the code in an answer: prose, fences, and now and then no closing fence."""

from __future__ import annotations

from .choices import Choices

BEFORE = (
    "", "Here is the kernel:\n\n", "Here's an optimized implementation.\n\n", "Sure! Below is a complete module.\n\n",
    "The tail is masked and non-contiguous inputs are copied first.\n\n",
)  # fmt: skip
AFTER = (
    "", "\n\nThe function handles empty and zero-dimensional inputs as well.",
    "\n\nThis should be faster than eager mode.",
    "\n\n**Notes**\n- One pass over memory.\n- Accumulates in float32.",
)  # fmt: skip


def around(code: str, dsl: str, choices: Choices) -> str:
    """The whole answer."""
    fence = choices.pick("fence", {"python": 8.0, "py": 0.5, "none": 0.5, "unclosed": 0.4, "plain": 0.6})
    before = choices.pick("before", BEFORE)
    after = choices.pick("after", AFTER)
    if fence == "none":
        return code
    opened = "```" if fence == "plain" else f"```{fence.replace('unclosed', 'python')}"
    if fence == "unclosed":
        return f"{before}{opened}\n{code}"
    return f"{before}{opened}\n{code}```{after}"


def honest_attempt(operation: str, dsl: str, function: str) -> str:
    """A module for an operation that the grammar has no productions for. It says so, and it fails."""
    return (
        f"import torch\n\n# The grammar has no productions for {operation} in {dsl}:\n"
        "# this copies its first input and will fail.\n\n\n"
        f"def {function}(*args, **kwargs):\n    first = next(a for a in args if isinstance(a, torch.Tensor))\n"
        "    return first.clone()\n"
    )
