"""From a row to token ids: where the prompt ends, what is scored, what a template may not do."""

import copy
import time
from typing import Any

import numpy as np
import pytest

from luce.data.ledger import RowError
from luce.data.template import DEFAULT_TEMPLATE, Renderer
from luce.data.template_limits import StuckTemplate
from luce.errors import ModelError
from luce.types import (
    Demonstration,
    Feedback,
    Group,
    Message,
    Place,
    Preference,
    Ranking,
    Text,
    TokenIds,
)

PLACE = Place("pairs.jsonl", 17)
HEAD: dict[str, Any] = {"place": PLACE, "id": "r1"}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def pair(prompt: Text, chosen: Text, rejected: Text, **more: Any) -> Preference:
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, **{**HEAD, **more})


def scored_text(group: Group, tokenizer: Any, number: int = 0) -> str:
    branch = group.branches[number]
    return tokenizer.decode(branch.ids[branch.scored])


def whole(group: Group, tokenizer: Any, number: int = 0) -> str:
    return tokenizer.decode([*group.prompt, *group.branches[number].ids])


def test_chatml_scores_the_answer_and_its_end_and_not_the_newline(chat_tokenizer: Any) -> None:
    group = Renderer(chat_tokenizer).group(pair("1+1?", "two", "three"))
    assert chat_tokenizer.decode(group.prompt) == (
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert scored_text(group, chat_tokenizer, 0) == "two<|im_end|>"
    assert scored_text(group, chat_tokenizer, 1) == "three<|im_end|>"
    assert all(branch.scored.all() for branch in group.branches)
    assert all(branch.ids[-1] == 4 and (branch.ids == 4).sum() == 1 for branch in group.branches)


def test_text_and_turns_of_the_same_words_give_the_same_tokens(chat_tokenizer: Any) -> None:
    renderer = Renderer(chat_tokenizer)
    a = renderer.group(pair("q", "a", "b"))
    b = renderer.group(pair((user("q"),), (assistant("a"),), (assistant("b"),)))
    assert np.array_equal(a.prompt, b.prompt)
    assert all(np.array_equal(x.ids, y.ids) for x, y in zip(a.branches, b.branches, strict=True))


@pytest.mark.parametrize("render", ["chat", "plain"])
def test_generation_gets_the_very_prompt_of_training(plain_tokenizer: Any, render: Any) -> None:
    renderer = Renderer(plain_tokenizer, render=render)
    for prompt in ("q", " white space \n", "a</s>b<s>", "Human: x\n\nAssistant:"):
        group = renderer.group(pair(prompt, "a", "b"))
        assert renderer.prompt_ids(prompt) == group.prompt.tolist()


def test_the_default_template_is_written_out(plain_tokenizer: Any) -> None:
    renderer = Renderer(plain_tokenizer)
    assert renderer.default_template
    turns = (system("s"), user("q"), assistant("r"), user("t"))
    group = renderer.group(pair(turns, "yes", "no"))
    assert whole(group, plain_tokenizer) == (
        "<s>System: s\n\nHuman: q\n\nAssistant: r</s>\n\nHuman: t\n\nAssistant: yes</s>"
    )
    assert scored_text(group, plain_tokenizer) == " yes</s>"
    assert group.prompt.tolist().count(0) == 1


def test_plain_transformers_renders_the_default_template_the_same(
    plain_tokenizer: Any, tmp_path: Any
) -> None:
    from transformers import AutoTokenizer

    renderer = Renderer(plain_tokenizer)
    turns = (user("q"), assistant("r"), user("t"))
    group = renderer.group(pair(turns, "yes", "no"))
    plain_tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    ids = again.apply_chat_template([*turns, assistant("yes")], return_dict=False)
    assert ids == [*group.prompt, *group.branches[0].ids]
    prompt = again.apply_chat_template(list(turns), add_generation_prompt=True, return_dict=False)
    assert prompt == group.prompt.tolist()
    assert Renderer(again).template_hash == renderer.template_hash


def test_a_sampled_response_renders_to_its_own_tokens(plain_tokenizer: Any) -> None:
    renderer = Renderer(plain_tokenizer)
    group = renderer.group(pair("q", "yes", "no"))
    sampled = [*group.branches[0].ids.tolist(), 7]
    assert renderer.response_text(sampled) == "yes"
    for text in ("yes", " yes", "\n- yes"):
        again = renderer.group(pair("q", text, "no"))
        assert plain_tokenizer.decode(again.branches[0].ids[:-1]).lstrip(" ") == text.lstrip(" ")


def test_interior_user_turns_are_context_and_each_answer_has_one_end(chat_tokenizer: Any) -> None:
    answer = (assistant("a"), user("more"), assistant("b"))
    row = pair((user("q"),), answer, (assistant("c"),))
    every = Renderer(chat_tokenizer).group(row)
    assert scored_text(every, chat_tokenizer) == "a<|im_end|>b<|im_end|>"
    last = Renderer(chat_tokenizer, score_turns="last").group(row)
    assert scored_text(last, chat_tokenizer) == "b<|im_end|>"
    assert np.array_equal(every.branches[0].ids, last.branches[0].ids)
    assert whole(every, chat_tokenizer) + "\n" == chat_tokenizer.apply_chat_template(
        [user("q"), *answer], tokenize=False
    )


def test_the_label_and_the_rest_of_the_row_come_along(chat_tokenizer: Any) -> None:
    renderer = Renderer(chat_tokenizer)
    row = pair("q", "a", "b", label=0.25, margin=2.0, weight=3.0, annotator="x", source="s",
               score_chosen=1.0, score_rejected=0.5)  # fmt: skip
    group = renderer.group(row)
    assert (group.label, group.margin, group.weight, group.scores) == (0.25, 2.0, 3.0, (1.0, 0.5))
    assert (group.id, group.place, group.annotator, group.source) == ("r1", PLACE, "x", "s")
    assert np.isnan(renderer.group(pair("q", "a", "b")).margin)
    for sampled, number in (("chosen", 1.0), ("rejected", 0.0)):
        row = pair("q", "a", "b", reference_sample=sampled)
        assert renderer.group(row).reference_sample == number
    assert np.isnan(renderer.group(pair("q", "a", "b")).reference_sample)
    assert renderer.group(Feedback(**HEAD, prompt="q", completion="a", label=False)).label == 0.0
    ranking = Ranking(**HEAD, prompt="q", responses=("a", "b", "c"), scores=(1.0, 3.0, 2.0))
    assert renderer.group(ranking).scores == (1.0, 3.0, 2.0)
    assert len(renderer.group(ranking).branches) == 3


def test_plain_is_prompt_completion_eos(plain_tokenizer: Any) -> None:
    group = Renderer(plain_tokenizer, render="plain").group(pair("q: ", "a</s>", "b"))
    assert whole(group, plain_tokenizer) == "q: a</s></s>"
    assert group.branches[0].ids.tolist().count(1) == 1
    assert plain_tokenizer.chat_template is None
    with pytest.raises(RowError, match="prompt: turns cannot be rendered plain"):
        Renderer(plain_tokenizer, render="plain").group(pair((user("q"),), "a", "b"))


def test_running_text_is_imitated_from_its_beginning(plain_tokenizer: Any) -> None:
    row = Demonstration(**HEAD, prompt="", completion="Human: hi")
    group = Renderer(plain_tokenizer).group(row)
    assert group.prompt.tolist() == [0]
    assert scored_text(group, plain_tokenizer) == "Human: hi</s>"
    without = copy.deepcopy(plain_tokenizer)
    without.bos_token = None
    group = Renderer(without).group(row)
    assert whole(group, without) == "Human: hi</s>"
    assert len(group.prompt) == 1


def test_a_tokenizer_that_adds_bos_itself_gives_one_bos(plain_tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    plain_tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    assert plain_tokenizer("q")["input_ids"][0] == 0
    for render in ("plain", "chat"):
        group = Renderer(plain_tokenizer, render=render).group(pair("q", "a", "b"))
        assert [*group.prompt, *group.branches[0].ids].count(0) == 1


@pytest.mark.parametrize(
    ("prompt", "chosen", "field", "reason"),
    [
        ("", "a", "prompt", "empty"),
        ((), "a", "prompt", "empty"),
        ((user(" "),), "a", "prompt[0].content", "empty"),
        ((user("q"), assistant("r")), "a", "prompt[1].role", "role"),
        ((user("q"), system("s"), user("t")), "a", "prompt[1].role", "role"),
        (({"role": "usr", "content": "q"},), "a", "prompt[0].role", "role"),
        (({"role": "user", "content": None},), "a", "prompt[0].content", "type"),
        (({"role": "user", "content": 3},), "a", "prompt[0].content", "type"),
        ("q", "", "chosen", "empty"),
        ("q", " \n", "chosen", "empty"),
        ("q", (), "chosen", "empty"),
        ("q", (assistant(""),), "chosen[0].content", "empty"),
        ("q", (user("a"),), "chosen[0].role", "role"),
        ("q", (assistant("a"), user("b")), "chosen[1].role", "role"),
        ("q", (assistant("a"), assistant("b")), "chosen[1].role", "role"),
        ("q", (assistant("a"), system("b")), "chosen[1].role", "role"),
        ("q", "no", "rejected", "identical"),
    ],
)
def test_a_row_with_a_fault_is_refused(
    chat_tokenizer: Any, prompt: Text, chosen: Text, field: str, reason: str
) -> None:
    with pytest.raises(RowError) as caught:
        Renderer(chat_tokenizer).group(pair(prompt, chosen, "no"))
    assert (caught.value.field, caught.value.reason) == (field, reason)
    assert str(caught.value).startswith(f"pairs.jsonl:17: {field}: ")
    assert caught.value.id == "r1"


def templated(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template
    return tokenizer


BODY = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ CONTENT }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nPREFIX{% endif %}"
)


def body(content: str = "m['content']", prefix: str = "") -> str:
    return BODY.replace("CONTENT", content).replace("PREFIX", prefix)


@pytest.mark.parametrize(
    ("template", "field", "message"),
    [
        (body("'' if m['role'] == 'system' else m['content']"), "prompt[0].content", "system's"),
        (body("m['content'].split('</think>')[-1]"), "chosen[0].content", "assistant's"),
        (body("m['content'] | upper"), "prompt[0].content", "leaves out or changes"),
        (body(prefix="<think>"), "chosen", "no boundary fits both"),
        (body("raise_exception('no system') if m['role'] == 'system' else m['content']"), "",
         "TemplateError: no system"),
        (body("m['content'].__class__.__mro__"), "",
         "SecurityError"),
    ],
)  # fmt: skip
def test_a_template_that_cuts_changes_or_refuses_is_named(
    chat_tokenizer: Any, template: str, field: str, message: str
) -> None:
    probe = (
        "{% if messages[-1]['content'] == 'luceprobe' %}<|im_start|>assistant\nluceprobe<|im_end|>"
        f"{{% else %}}{template}{{% endif %}}"
    )
    renderer = Renderer(templated(chat_tokenizer, probe))
    row = pair((system("Be brief."), user("q")), "<b>why</think>because", "no")
    with pytest.raises(RowError) as caught:
        renderer.group(row)
    assert caught.value.field == field
    assert message in str(caught.value)


def test_trimmed_white_space_is_a_note_and_equal_afterwards_is_an_error(
    chat_tokenizer: Any,
) -> None:
    renderer = Renderer(templated(chat_tokenizer, body("m['content'] | trim")))
    group, notes = renderer.group_and_notes(pair("q", " a ", "b"))
    assert [(field, reason) for field, reason, _ in notes] == [("chosen[0].content", "trimmed")]
    assert scored_text(group, chat_tokenizer) == "a<|im_end|>"
    with pytest.raises(RowError, match="the same tokens as `chosen`"):
        renderer.group(pair("q", "a", "a "))


def test_reasoning_of_earlier_turns_may_be_left_out(chat_tokenizer: Any) -> None:
    content = (
        "m['content'].split('</think>')[-1] if m['role'] == 'assistant' and not loop.last"
        " else m['content']"
    )
    renderer = Renderer(templated(chat_tokenizer, body(content)))
    turns = (user("q"), assistant("hmm</think>r"), user("t"))
    group, notes = renderer.group_and_notes(pair(turns, "hm</think>a", "b"))
    assert notes == [
        ("prompt[1].content", "reasoning",
         "the chat template leaves out the reasoning of an earlier turn.")
    ]  # fmt: skip
    assert scored_text(group, chat_tokenizer) == "hm</think>a<|im_end|>"
    assert "hmm" not in chat_tokenizer.decode(group.prompt)


def test_no_end_of_turn_or_no_eos_is_an_error_of_the_model(
    chat_tokenizer: Any, plain_tokenizer: Any
) -> None:
    endless = body().replace("<|im_end|>", "").replace("<|im_start|>", "")
    with pytest.raises(ModelError, match="no end-of-turn token.*eos_token"):
        Renderer(templated(chat_tokenizer, endless))
    plain_tokenizer.eos_token = None
    for render in ("chat", "plain"):
        with pytest.raises(ModelError, match="has no eos token.*tokenizer_config.json"):
            Renderer(plain_tokenizer, render=render)
    plain_tokenizer.chat_template = "{% if x"
    with pytest.raises(ModelError, match="chat template does not work.*TemplateSyntaxError"):
        Renderer(plain_tokenizer)


def test_a_template_that_does_not_end_is_stopped(chat_tokenizer: Any) -> None:
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    slow = "{% if messages|length == 1 %}" + loop + "{% endif %}" + body()
    renderer = Renderer(templated(chat_tokenizer, slow), time_limit_s=0.2)
    before = time.monotonic()
    said = "pairs.jsonl:17: the chat template took over 0.2 s and is not asked again"
    with pytest.raises(StuckTemplate, match=said):
        renderer.group(pair("q", "a", "b"))
    assert time.monotonic() - before < 5
    # once is enough: the next row does not wait, nor does a prompt
    renderer = Renderer(templated(chat_tokenizer, slow), time_limit_s=2.0)
    with pytest.raises(StuckTemplate, match="over 2 s and"):
        renderer.prompt_ids("q")
    before = time.monotonic()
    for ask in (renderer.group, lambda row: renderer.prompt_ids(row.prompt, place=row.place)):
        with pytest.raises(StuckTemplate, match="17: .* took over 2 s for an earlier row"):
            ask(pair("q", "a", "b"))
    assert time.monotonic() - before < 1


def test_tools_and_template_arguments_reach_the_template(chat_tokenizer: Any) -> None:
    template = "{% if tools %}{{ tools | tojson }}{% endif %}{{ mood }}" + body()
    renderer = Renderer(templated(chat_tokenizer, template))
    tools = [{"name": "<|im_end|>"}]
    row = pair("q", "a", "b", tools=tools, chat_template_kwargs={"mood": "dry"})
    group = renderer.group(row)
    assert whole(group, chat_tokenizer).startswith('[{"name": "<|im_end|>"}]dry<|im_start|>')
    assert group.prompt.tolist().count(4) == 1
    assert renderer.prompt_ids("q", tools, {"mood": "dry"}) == group.prompt.tolist()
    with pytest.raises(RowError, match="chat_template_kwargs: chat_template cannot be set"):
        renderer.group(pair("q", "a", "b", chat_template_kwargs={"chat_template": "x"}))
    ignoring = Renderer(templated(chat_tokenizer, body()))
    with pytest.raises(RowError, match="tools: the chat template leaves the tools out"):
        ignoring.group(pair("q", "a", "b", tools=[{"name": "f"}]))


def test_the_hash_follows_everything_that_enters_the_ids(
    chat_tokenizer: Any, plain_tokenizer: Any
) -> None:
    hashes = {
        Renderer(chat_tokenizer).template_hash,
        Renderer(chat_tokenizer, score_turns="last").template_hash,
        Renderer(chat_tokenizer, render="plain").template_hash,
        Renderer(plain_tokenizer).template_hash,
        Renderer(templated(chat_tokenizer, body("m['content'] | trim"))).template_hash,
    }
    assert len(hashes) == 5
    assert plain_tokenizer.chat_template == DEFAULT_TEMPLATE


def sampled(renderer: Renderer, prompt: str, **responses: list[int]) -> TokenIds:
    texts = {renderer.response_text(ids): tuple(ids) for ids in responses.values()}
    return TokenIds(tuple(renderer.prompt_ids(prompt)), texts)


def test_sampled_tokens_are_taken_as_they_were_sampled(chat_tokenizer: Any) -> None:
    renderer = Renderer(chat_tokenizer)
    encode = chat_tokenizer.encode
    word = next(w for w in chat_tokenizer.get_vocab() if w.isalpha() and w.isascii() and len(w) > 2)
    spelled = [i for c in word for i in encode(c, add_special_tokens=False)]  # letter by letter
    cut = encode("three", add_special_tokens=False)
    assert spelled != encode(word, add_special_tokens=False)
    ids = sampled(renderer, "1+1?", a=[*spelled, renderer.terminator], b=cut)
    group = renderer.group(pair("1+1?", word, "three", token_ids=ids))
    assert group.branches[0].ids.tolist() == [*spelled, renderer.terminator]
    assert group.branches[1].ids.tolist() == cut  # no end where there was none
    assert all(branch.scored.all() for branch in group.branches)
    text = renderer.group(pair("1+1?", word, "three"))
    assert np.array_equal(group.prompt, text.prompt)


def test_tokens_of_another_model_are_refused(chat_tokenizer: Any) -> None:
    renderer = Renderer(chat_tokenizer)
    right = sampled(renderer, "1+1?", a=chat_tokenizer.encode("two"), b=chat_tokenizer.encode("no"))
    for wrong, field in (
        (TokenIds(right.prompt[1:], right.responses), "prompt"),
        (TokenIds(right.prompt, {**right.responses, "no": right.responses["two"]}), "rejected"),
        (TokenIds(right.prompt, {"no": right.responses["no"]}), "chosen"),
    ):
        with pytest.raises(RowError, match="sampled from another model") as found:
            renderer.group(pair("1+1?", "two", "no", token_ids=wrong))
        assert found.value.field == f"token_ids.{field}"
