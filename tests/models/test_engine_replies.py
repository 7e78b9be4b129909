"""Whatever a sampling server answers: the samples of it, or an error that says what is missing."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.models.engine_dialects import Handle, Malformed, Reply, Sglang, Vllm
from luce.models.engine_http import Temporary

HANDLE = Handle("m", "v1")
VLLM: dict[str, Any] = {
    "model": "m",
    "choices": [
        {"index": 1, "finish_reason": "length", "token_ids": [7, 8],
         "logprobs": {"token_logprobs": [-1, -0.5]}},
        {"index": 0, "finish_reason": "stop", "token_ids": [5],
         "logprobs": {"token_logprobs": [-2.0]}},
    ],
}  # fmt: skip
SGLANG: list[dict[str, Any]] = [
    {
        "output_ids": [5],
        "meta_info": {
            "finish_reason": {"type": "stop"},
            "weight_version": "v2",
            "output_token_logprobs": [[-2.0, 5, None], [-0.25, 1, None]],
        },
    }
]
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=3),
    st.sampled_from(["stop", "length", "abort"]),
)  # fmt: skip
ANY = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    parts = [((*path, key), part) for key, part in inner]
    return [path] + [
        place
        for way, part in parts
        for place in (places(part, way) if isinstance(part, dict | list) else [way])
    ]


def spoilt(body: Any, path: tuple[Any, ...], new: Any, gone: bool) -> Any:
    """The body with one part taken away or exchanged."""
    if not path:
        return new
    body = copy.deepcopy(body)
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    if gone:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return body


def test_what_is_read() -> None:
    assert Vllm().read(VLLM, HANDLE) == [
        Reply((5,), (-2.0,), "v1"),
        Reply((7, 8), (-1.0, -0.5), "v1"),
    ]
    assert Vllm().read(VLLM | {"model": "n"}, HANDLE)[0].version == "n"
    assert Sglang().read(SGLANG, Handle("", "v1")) == [Reply((5, 1), (-2.0, -0.25), "v2")]
    assert Sglang().read(SGLANG, HANDLE)[0].version == "v1"


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        ((), {"error": "no"}, "no list of answers"),
        ((0,), "text", "no `meta_info`"),
        ((0, "meta_info", "output_token_logprobs"), None, "no `output_token_logprobs`"),
        ((0, "meta_info", "output_token_logprobs"), [[-1.0]], "no `output_token_logprobs`"),
        ((0, "output_ids"), [6], "are not the tokens of"),
        ((0, "output_ids"), "5", "are not the tokens of"),
        ((0, "meta_info", "output_token_logprobs", 0, 0), None, "not one log-probability"),
        ((0, "meta_info", "output_token_logprobs", 0, 0), float("nan"), "not one log-probability"),
        ((0, "meta_info", "output_token_logprobs", 1, 1), 1.5, "tokens that are no numbers"),
    ],
)
def test_what_is_missing_of_sglangs_is_named(path: Any, new: Any, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        Sglang().read(spoilt(SGLANG, path, new, gone=False), HANDLE)


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        ((), [], "no `choices`"),
        (("choices", 0), "text", "no `choices`"),
        (("choices", 0, "index"), "first", "`index` is no number"),
        (("choices", 0, "token_ids", 0), -1, "tokens that are no numbers"),
        (("choices", 0, "token_ids", 0), "7", "tokens that are no numbers"),
        (("choices", 0, "logprobs", "token_logprobs", 0), float("inf"), "not one log-probability"),
    ],
)
def test_what_is_missing_of_vllms_is_named(path: Any, new: Any, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        Vllm().read(spoilt(VLLM, path, new, gone=False), HANDLE)


@pytest.mark.parametrize(("dialect", "body"), [(Vllm(), VLLM), (Sglang(), SGLANG)])
def test_nothing_else_comes_of_any_answer(dialect: Any, body: Any) -> None:
    @settings(max_examples=600, deadline=None, derandomize=True, database=None)
    @given(path=st.sampled_from(places(body)), new=ANY, gone=st.booleans())
    def property(path: tuple[Any, ...], new: Any, gone: bool) -> None:
        try:
            found = dialect.read(spoilt(body, path, new, gone), HANDLE)
        except (Malformed, Temporary):
            return
        for reply in found:
            assert reply.ids and len(reply.ids) == len(reply.log_probs)

    property()
