import pytest

from luce.data.worlds import tasks
from luce.data.worlds.tasks import KINDS, Tasks, parse, reference_answer, split_of
from luce.errors import DataError


def test_held_out_prompts_never_train_whatever_the_seed() -> None:
    train = set(Tasks(0).prompts(10_000, split="train"))
    held_out = set(Tasks(1).prompts(10_000, split="heldout"))
    assert not train & held_out
    assert {split_of(p) for p in train} == {"train"}
    assert {split_of(p) for p in held_out} == {"heldout"}


def test_a_tenth_is_held_out() -> None:
    kind = KINDS["reverse"]
    held_out = sum(split_of(kind.prompt(i)) == "heldout" for i in range(10_000))
    assert held_out / 10_000 == pytest.approx(0.1, abs=0.01)


def test_prompts_are_distinct_seeded_and_a_prefix_of_more() -> None:
    prompts = Tasks(7).prompts(2000)
    assert len(set(prompts)) == 2000
    assert prompts == Tasks(7).prompts(2000) == Tasks(7).prompts(3000)[:2000]
    assert prompts != Tasks(8).prompts(2000)


def test_every_kind_is_as_likely_as_the_others() -> None:
    prompts = Tasks(0).prompts(2800)
    for name in KINDS:
        share = sum(parse(p).kind.name == name for p in prompts) / len(prompts)
        assert share == pytest.approx(1 / len(KINDS), abs=0.02)


def test_all_held_out_prompts_can_be_had_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: KINDS[name] for name in ("add", "wish")}
    monkeypatch.setattr(tasks, "KINDS", few)
    everything = {
        prompt
        for kind in few.values()
        for prompt in map(kind.prompt, range(kind.size))
        if split_of(prompt) == "heldout"
    }
    n = len(everything)
    assert set(Tasks(0).prompts(n, split="heldout")) == everything
    with pytest.raises(DataError, match=f"has {n} prompts in its split 'heldout'"):
        Tasks(0).prompts(n + 1, split="heldout")


def test_the_reference_answer_is_the_bare_answer() -> None:
    assert reference_answer("How much is 17 minus 5?") == "12"
