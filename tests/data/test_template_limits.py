"""A template that writes without end is stopped and named."""

from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from luce.data.ledger import RowError
from luce.data.template import Renderer
from luce.data.template_limits import TooLong, limited
from luce.types import Place, Preference

BODY = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def pair(prompt: str, chosen: str, rejected: str) -> Preference:
    place = Place("pairs.jsonl", 17)
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, place=place, id="r1")


def templated(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template + BODY
    return tokenizer


def test_a_template_may_not_write_without_end(chat_tokenizer: Any) -> None:
    text = "x" * 1000
    loop = "{% for i in range(N) %}" + text + "{% endfor %}"
    long = "{% if messages[0]['content'] == 'q' %}" + loop + "{% endif %}"
    allowed = Renderer(templated(chat_tokenizer, long.replace("N", "900")))
    assert len(allowed.tokenizer.decode(allowed.prompt_ids("q"))) > 900_000
    refused = Renderer(templated(chat_tokenizer, long.replace("N", "99999")))
    said = "pairs.jsonl:17: the chat template writes over 1,000,[0-9]{3} characters for this row"
    with pytest.raises(RowError, match=said):
        refused.group(pair("q", "a", "b"))
    assert refused.group(pair("another", "a", "b")).branches  # the other rows can be used
    long_row = "word " * 300_000
    assert long_row in refused.tokenizer.decode(refused.prompt_ids(long_row))


def test_the_limit_of_characters_ends_with_the_rendering() -> None:
    sandbox: Any = ImmutableSandboxedEnvironment
    before = sandbox.concat
    template = ImmutableSandboxedEnvironment().from_string("{% for i in range(9) %}ab{% endfor %}")
    with pytest.raises(TooLong), limited(5.0, 17):
        template.render()
    with limited(5.0, 18):
        assert template.render() == "ab" * 9
    assert sandbox.concat is before
