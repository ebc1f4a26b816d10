"""The OpenAI chat format: what servers send, and what they send instead."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.engines import chat_api
from BackendBench.vllm_backend.generation.engines.base import EngineConfigError, Prompt, SamplingParameters

PROMPT = Prompt("s", "u")


@pytest.mark.parametrize(
    ("given_", "base"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("host:8000", "http://host:8000/v1"),
        (" http://host:8000/v1/ ", "http://host:8000/v1"),
        ("http://host/v1/chat/completions", "http://host/v1"),
        ("http://host/v1/models", "http://host/v1"),
        ("https://gateway/openai/deployments/x", "https://gateway/openai/deployments/x"),
    ],
)
def test_a_url_as_people_write_it(given_: str, base: str) -> None:
    assert chat_api.base_url(given_) == base


@pytest.mark.parametrize("text", ["", "http://", "ftp://host", "http://host:99999", "http://host:0"])
def test_no_url_is_one_line(text: str) -> None:
    with pytest.raises(EngineConfigError, match="is no URL"):
        chat_api.base_url(text)


def test_a_request() -> None:
    parameters = SamplingParameters(temperature=0.5, top_p=0.9, max_tokens=7, seed=2**31 - 1)
    body = chat_api.request_body("m", PROMPT, 4, 2, parameters, limit_tokens=True)
    assert (body["n"], body["max_tokens"], body["temperature"], body["top_p"]) == (4, 7, 0.5, 0.9)
    assert body["seed"] == 1, "it moves along with the index and stays in 31 bits"
    alone = chat_api.request_body("m", PROMPT, 1, 0, SamplingParameters(), limit_tokens=False)
    assert not {"n", "seed", "max_tokens"} & alone.keys()


def reply(*messages: object, tokens: int | None = None) -> str:
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    return json.dumps({"choices": [{"message": m} for m in messages], **usage})


def test_the_texts_of_a_reply() -> None:
    text = reply(
        {"content": "a"}, {"content": [{"text": "b"}, {"text": "c"}]}, {"content": None}, tokens=None
    )
    samples = chat_api.samples_of(text, first=3, wanted=5)
    assert [(s.index, s.text) for s in samples] == [(3, "a"), (4, "bc"), (5, "")]


def test_reasoning_that_never_reached_an_answer() -> None:
    (sample,) = chat_api.samples_of(reply({"content": None, "reasoning_content": "hm"}), 0, 1)
    assert sample.text == "<think>hm"


def test_more_choices_than_were_asked_for_are_left_out() -> None:
    assert len(chat_api.samples_of(reply(*[{"content": "a"}] * 5), 0, 2)) == 2


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**5), min_size=1, max_size=20))
def test_the_tokens_of_a_reply_are_shared_out_exactly(total: int, lengths: list[int]) -> None:
    shares = chat_api.share(total, lengths)
    assert sum(shares) == total and min(shares) >= 0 and len(shares) == len(lengths)


def test_longer_texts_have_more_tokens() -> None:
    assert chat_api.share(100, [300, 100]) == [75, 25]


@given(st.one_of(st.text(), st.binary()))
def test_any_reply_is_understood_or_malformed(text: str | bytes) -> None:
    try:
        chat_api.samples_of(text, 0, 4)
    except chat_api.MalformedReply as error:
        assert str(error)
    chat_api.served_models(text)
    assert "\n" not in chat_api.error_text(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "data", "id", "error"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_understood_or_malformed(value: object) -> None:
    text = json.dumps(value)
    with contextlib.suppress(chat_api.MalformedReply):
        chat_api.samples_of(text, 0, 4)
    chat_api.served_models(text)
    chat_api.error_text(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error": {"message": "no room", "code": 1}}', "no room"),
        ('{"error": "no room"}', "no room"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"message": "a\\n  b"}', "a b"),
        ("plain\ntext", "plain text"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_what_a_server_says_of_an_error(body: str | bytes, text: str) -> None:
    assert chat_api.error_text(body) == text


def test_a_page_of_html_is_cut() -> None:
    assert len(chat_api.error_text("<html> " * 1000)) == chat_api.MESSAGE_CHARACTERS


def test_where_a_vllm_server_publishes_its_metrics() -> None:
    assert chat_api.metrics_url("http://host:8000/v1") == "http://host:8000/metrics"
