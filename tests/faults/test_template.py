"""Tokenizers and chat templates that do what they should not."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fault_bench import ANSWERED, COUNTED, SAME, Bench, case, pair, pairs, turn

from luce.data.template import Renderer

BODY = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ CONTENT }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nPREFIX{% endif %}"
)
PROBE = (
    "{% if messages[-1]['content'] == 'luceprobe' %}<|im_start|>assistant\nluceprobe<|im_end|>"
    "{% else %}REST{% endif %}"
)
"""A template that misbehaves on rows only, not when it is first looked at."""


def body(content: str = "m['content']", prefix: str = "") -> str:
    return BODY.replace("CONTENT", content).replace("PREFIX", prefix)


def settle(bench: Bench, change: Callable[[dict[str, Any]], None], name: str = "tokenizer_config"):
    path = bench.model / f"{name}.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def template(bench: Bench, text: str | None) -> None:
    """Give the model this chat template, or none."""
    (bench.model / "chat_template.jinja").unlink(missing_ok=True)
    settle(bench, lambda config: config.pop("chat_template", None))
    if text is not None:
        (bench.model / "chat_template.jinja").write_text(text)


def without(bench: Bench, *roles: str) -> None:
    """Take special tokens out of the tokenizer's and the model's configuration."""

    def drop(config: dict[str, Any]) -> None:
        for role in roles:
            config.pop(role, None)
            config.pop(f"{role}_id", None)

    for name in ("tokenizer_config", "config", "generation_config"):
        settle(bench, drop, name)


@case(43, what="a tokenizer without a padding token", answer=SAME)
def test_no_padding_token(bench: Bench, says) -> None:
    clean = bench.check()["rows"]
    bench.train().done()
    whole = bench.metrics
    without(bench, "pad_token")
    rows = bench.check()["rows"]
    assert rows == clean and rows[0]["text"][1].endswith("<|im_end|>⟧")
    bench.set(output_dir=str(bench.folder / "again"))
    bench.train().done()
    assert bench.metrics == whole
    says("nothing is padded: the same loss to the bit, and the end of turn is trained")


@case(44, what="a tokenizer without an end-of-sequence token", answer=ANSWERED)
def test_no_end_token(bench: Bench, says) -> None:
    without(bench, "pad_token", "eos_token")
    template(bench, None)
    says(bench.train().refused("no eos token", "`eos_token`", "tokenizer_config.json"))


@case(45, what="a model without a chat template", answer=ANSWERED)
def test_no_template(bench: Bench, says) -> None:
    template(bench, None)
    said = bench.check()["facts"]["template"]
    says(f"template: {said}")
    assert said.startswith("none comes with the model: luce's default")
    assert f"template: {said}" in bench.train().done().err
    manifest = json.loads((bench.run_folder / "manifest.json").read_text())
    assert manifest["template"] == said and manifest["total_steps"] == manifest["steps"]
    exported = (bench.run_folder / "model" / "chat_template.jinja").read_text()
    bench.set(model={"path": str(bench.run_folder / "model")}, output_dir=str(bench.folder / "b"))
    assert "Assistant:" in exported and bench.check()["facts"]["template"] == "luce's default"


@case(46, what="a generation prompt that is no beginning of the answer", answer=ANSWERED)
def test_no_boundary(bench: Bench, says) -> None:
    template(bench, PROBE.replace("REST", body(prefix="<think>\n\n</think>")))
    says(bench.train().refused(f"{bench.data}:1: chosen", "no boundary fits both", "(id r0)"))


@case(47, what="a template that trims, and a pair that differs by white space", answer=ANSWERED)
def test_equal_once_trimmed(bench: Bench, says) -> None:
    template(bench, body("m['content'] | trim"))
    rows = pairs()
    rows[3]["rejected"] = [turn("assistant", rows[3]["chosen"][0]["content"] + " ")]
    bench.put(rows)
    says(bench.train().refused(f"{bench.data}:4: rejected", "the same tokens as `chosen`"))


@case(47, what="a template that trims white space", answer=COUNTED)
def test_trimmed(bench: Bench, says) -> None:
    template(bench, body("m['content'] | trim"))
    bench.put([{**pair(0), "chosen": [turn("assistant", " a space before")]}])
    found = bench.check()
    assert found["ledger_counts"] == {"changed/trimmed": 1}
    says(f"line 1: chosen[0].content: {found['ledger'][0]['detail']}")


LOST = "'' if m['role'] == 'system' else m['content']"
THINK = "m['content'].split('</think>')[-1]"
REFUSALS = {
    48: ("a template that leaves out the system turn", body(LOST), "prompt[0].content"),
    49: ("a template that raises", body("raise_exception('no system turn')"), "no system turn"),
    51: ("a template that leaves out part of the answer", body(THINK), "chosen[0].content"),
    55: ("a template that asks for Python's own parts", body("m.__class__.__mro__"), "SecurityErr"),
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(text, said, marks=case(n, what=what, answer=ANSWERED), id=what)
        for n, (what, text, said) in REFUSALS.items()
    ],
)
def test_what_a_template_does_to_a_row(bench: Bench, says, text: str, said: str) -> None:
    row = pair(0)
    row["prompt"] = [turn("system", "Be brief."), *row["prompt"]]
    row["chosen"] = [turn("assistant", "hm</think>fine")]
    bench.put([row])
    template(bench, PROBE.replace("REST", text))
    says(bench.train().refused(f"{bench.data}:1: ", said, "(id r0)"))


@case(50, what="a template that rewrites earlier turns", answer=COUNTED)
def test_earlier_turns_rewritten(bench: Bench, says) -> None:
    last = "m['content'] if loop.last or m['role'] == 'user' else "
    template(bench, body(last + THINK))
    row = pair(0)
    row["prompt"] = [turn("user", "q"), turn("assistant", "hm</think>r"), turn("user", "s")]
    row["chosen"] = [turn("assistant", "mm</think>fine")]
    bench.put([row])
    found = bench.check()
    prompt, chosen, _ = found["rows"][0]["text"]
    assert "hm" not in prompt and prompt.endswith("assistant\n")
    assert chosen == "⟦mm</think>fine<|im_end|>⟧"
    assert found["ledger_counts"] == {"changed/reasoning": 1}
    says(f"scored: {chosen}; {found['ledger'][0]['detail']}")


@case(52, what="a template without an end of turn", answer=ANSWERED)
def test_no_end_of_turn(bench: Bench, says) -> None:
    template(bench, "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")
    says(bench.train().refused("no end-of-turn token", "eos_token"))


@case(53, what="a token that the model has no embedding for", answer=ANSWERED)
def test_a_token_without_an_embedding(bench: Bench, says) -> None:
    tokenizer = json.loads((bench.model / "tokenizer.json").read_text())
    added = {**tokenizer["added_tokens"][0], "id": 300, "content": "<new>"}
    tokenizer["added_tokens"].append(added)
    (bench.model / "tokenizer.json").write_text(json.dumps(tokenizer))
    says(bench.train().refused("'<new>'", "ids up to 300", "300 ids"))


@case(54, what="a template that goes round a hundred million times", answer=ANSWERED)
def test_a_template_without_end(bench: Bench, says, monkeypatch) -> None:
    # ten seconds where a person waits
    monkeypatch.setattr("luce.recipe.prepare.Renderer", partial(Renderer, time_limit_s=0.3))
    loop = "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"
    template(bench, loop + body())
    says(bench.train().refused("took over 0.3 s"))
    template(bench, PROBE.replace("REST", loop + body()))
    bench.put([pair(0)])
    bench.train().refused(f"{bench.data}:1: ", "took over 0.3 s")


@case(56, what="a prompt that ends inside a token", answer=SAME)
def test_a_prompt_that_ends_inside_a_token(bench: Bench, says) -> None:
    bench.put([{"prompt": "The quick bro", "chosen": "wn fox", "rejected": "th"}])
    row = bench.check("data.render=plain")["rows"][0]
    assert row["text"][:2] == ["The quick bro", "⟦wn fox<|im_end|>⟧"]
    ids = [token["id"] for token in row["prompt"]]
    assert ids == [t["id"] for t in row["prompt"] if not t["scored"]]
    assert all(token["scored"] for token in row["responses"][0])
    says(f"prompt {row['text'][0]!r}, scored {row['text'][1]}: no token stands on both sides")


@case(60, what="a template and a tokenizer that both write a BOS", answer=SAME)
def test_one_bos(bench: Bench, says) -> None:
    tokenizer = json.loads((bench.model / "tokenizer.json").read_text())
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, text[0]],
        "pair": [bos, *text],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }
    (bench.model / "tokenizer.json").write_text(json.dumps(tokenizer))
    template(bench, "{{ bos_token }}" + body())
    row = bench.check()["rows"][0]
    assert [token["id"] for token in row["prompt"]].count(0) == 1
    assert all(token["id"] for response in row["responses"] for token in response)
    says("one BOS, at the beginning")


@case(60, what="a template that writes two BOS tokens", answer=ANSWERED)
def test_two_bos(bench: Bench, says) -> None:
    template(bench, "{{ bos_token }}{{ bos_token }}" + body())
    says(bench.train().refused(f"{bench.data}:1: prompt", "two BOS tokens"))
