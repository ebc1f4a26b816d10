"""The part of a model's output that is its answer: without reasoning, without what follows its end.

- Reasoning stands between tags; models differ in which. Only what stands outside counts.
- A closing tag without an opening one ends reasoning too: chat templates often put the opening one into the
  prompt. An opening one that is never closed means that the answer was never reached.
- Tokens that end a turn end the answer: what a model writes after them is no part of it.
- One pass; linear in the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = "think|thinking|thought|thoughts|reasoning|reason|analysis|reflection|scratchpad"
_TAG = re.compile(
    rf"(?P<open><(?:{_NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>)"
    rf"|(?P<close></(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>)",
    re.IGNORECASE,
)
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_END = re.compile(
    r"<\|im_end\|>|<\|endoftext\|>|<\|eot_id\|>|<\|end_of_text\|>|<\|return\|>|<｜end▁of▁sentence｜>|<\|end\|>"
    r"|</s>[ \t]*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Answer:
    """What a model answered."""

    text: str
    unfinished_reasoning: bool
    """The output ends inside its reasoning."""


def answer(output: str) -> Answer:
    """The answer within ``output``."""
    channel = output.rfind(_FINAL_CHANNEL)
    if channel >= 0:
        output = output[channel + len(_FINAL_CHANNEL) :]
    parts: list[str] = []
    start, inside = 0, False
    for tag in _TAG.finditer(output):
        if tag["open"] and not inside:
            parts.append(output[start : tag.start()])
            inside = True
        elif tag["close"]:
            if not inside:
                parts.clear()  # all that came before was reasoning
            start, inside = tag.end(), False
    if not inside:
        parts.append(output[start:])
    text = "".join(parts)
    # A model may open its turn with such a token; it ends something only after there was something.
    lead = len(text) - len(text.lstrip())
    end = _END.search(text, lead)
    while end and not text[lead : end.start()].strip():
        lead = end.end()
        end = _END.search(text, lead)
    return Answer(text[lead : end.start()] if end else text[lead:], inside)
