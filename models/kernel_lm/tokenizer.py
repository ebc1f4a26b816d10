"""A byte-level BPE tokenizer of the corpus, and its chat template.

- Pieces are whole lines rather than words: code of a grammar repeats itself, and a line that comes often becomes
  a few tokens. A candidate has a third of the tokens that words would give.
- The name of the operation in ``NAME_kernel_impl`` is a piece of its own, so that a name that was never seen is
  read and written like any other.
- Any text can be encoded and comes back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .shape import END_OF_TEXT, SPECIAL_TOKENS, TURN_END, Shape

PIECE = r"\n[\n ]*|\w+?(?=_kernel_impl)|_kernel_impl|(?:(?!\w+_kernel_impl)[^\n])+?(?=\w+_kernel_impl|\n|$)"
"""A line's start, an operation's name, what is common to their functions, and the text between."""
LONGEST_TOKEN = 20
"""Characters. Longer ones make the text shorter still, but whole lines would be picked instead of written, and a
third of the vocabulary would be names of variables in all their combinations."""
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train(texts: Iterable[str], shape: Shape) -> Any:
    """A ``tokenizers.Tokenizer`` of the shape's vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def chat(system: str, user: str) -> str:
    """What CHAT_TEMPLATE makes of a prompt, up to where the answer begins."""
    turns = (("system", system), ("user", user))
    return (
        "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"
    )


def save(tokenizer: Any, directory: Path, shape: Shape) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json``, as transformers reads them."""
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.context,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
