"""What a round's reference, opponent and history are, and how a moving average moves."""

from pathlib import Path
from typing import Any

import pytest
import torch

from luce.errors import RecipeError
from luce.models.export import save_model
from luce.models.policy import CausalPolicy, load_policy
from luce.recipe.load import load_recipe
from luce.recipe.online import online_run
from luce.recipe.online_loop import check_online
from luce.recipe.online_models import Models, check_reference


@pytest.fixture
def models(recipe, tmp_path):
    """The models of a run with these keys, none of whose rounds has been trained."""

    def make(**keys: Any) -> Models:
        given = recipe | {"online": {"annotator": "not:asked"}} | keys
        return Models(load_recipe(given).recipe, tmp_path / "run", "float32")

    return make


def moved(models: Models, number: int, by: float) -> dict[str, torch.Tensor]:
    """Write a policy of a round: the first one with `by` added to every weight; its weights."""
    policy = models.load(0)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            parameter.add_(by)
    save_model(policy, Path(models.path(number)))
    return weights(policy)


def weights(policy: CausalPolicy) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in policy.module.named_parameters()}


@pytest.mark.parametrize(
    ("reference", "first", "second"),
    [
        ("initial", ("initial", "policy of round 0"), ("MODEL", "policy of round 0")),
        (
            "previous_round",
            ("initial", "policy of round 0"),
            ("initial", "policy of round 1"),
        ),
        ("none", ("none", "none"), ("none", "none")),
        ("some/model", ("some/model", "some/model"), ("some/model", "some/model")),
    ],
)
def test_what_training_calls_the_reference(models, recipe, reference, first, second) -> None:
    made = models(reference=reference)
    named, meaning = second
    named = named.replace("MODEL", recipe["model"]["path"])
    assert made.reference(1) == first and made.reference(2) == (named, meaning)


def test_an_adapter_trained_on_has_its_base_for_the_initial_policy(models) -> None:
    made = models(reference="initial", model={**models().recipe.model.model_dump(), "lora": {}})
    assert made.reference(1)[0] == "initial" and made.reference(2)[0] == "base"


def test_an_average_takes_a_step_toward_the_policy_in_every_round(models) -> None:
    """ρ_2 = .75 π_0 + .25 π_1 and ρ_3 = .75 ρ_2 + .25 π_2, each written once."""
    made = models(reference="ema(0.75)")
    assert made.reference(1) == ("initial", "policy of round 0")
    start, one, two = weights(made.load(0)), moved(made, 1, 0.25), moved(made, 2, -0.5)
    path, meaning = made.reference(2)
    assert meaning == "ema(0.75) up to round 1"
    second = {k: 0.75 * start[k] + 0.25 * one[k] for k in start}
    torch.testing.assert_close(weights(load_policy(path)), second)
    third = {k: 0.75 * second[k] + 0.25 * two[k] for k in start}
    path, _ = made.reference(3)
    torch.testing.assert_close(weights(load_policy(path)), third)
    stamp = (Path(path) / "model.safetensors").stat().st_mtime_ns
    assert made.reference(3)[0] == path
    assert (Path(path) / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_run_with_an_average_trains_against_it(recipe, tmp_path, monkeypatch) -> None:
    """What round 2 recorded as its reference has the average's weights."""
    monkeypatch.chdir(tmp_path)
    Path("averaged_judge.py").write_text(
        "def brevity(prompt, responses):\n    return [-float(len(r)) for r in responses]\n"
    )
    recipe["train"] |= {"max_steps": 2, "learning_rate": 0.01}
    recipe["online"] = {
        "rounds": 2, "n": 2, "prompts_per_round": 8, "max_new_tokens": 6,
        "annotator": "averaged_judge:brevity", "train_on": "union",
    }  # fmt: skip
    folder = online_run(recipe | {"reference": "ema(0.5)"})
    average = load_policy(str(folder / "rounds/002/reference"))
    first, second = (load_policy(p) for p in (recipe["model"]["path"],
                                              str(folder / "rounds/001/train/model")))  # fmt: skip
    expected = {k: (v + weights(second)[k]) / 2 for k, v in weights(first).items()}
    torch.testing.assert_close(weights(average), expected)
    line = (folder / "rounds.jsonl").read_text().splitlines()[1]
    assert average.hash() in line and "ema(0.5) up to round 1" in line


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"reference": "ema(1.5)"}, r"recipe.reference: 'ema\(1.5\)'. Write ema\(rate\)"),
        ({"reference": "ema"}, "Write ema"),
        ({"reference": "ema(0.9)", "lora": {}}, "`model.lora` trains adapters"),
    ],
)
def test_an_average_that_cannot_be(models, recipe, keys, said) -> None:
    model = recipe["model"] | ({"lora": keys.pop("lora")} if "lora" in keys else {})
    with pytest.raises(RecipeError, match=said):
        check_reference(models(**keys, model=model).recipe)


def test_the_opponent_beside_an_average_is_the_average(models) -> None:
    made = models(
        reference="ema(0.75)",
        online={"annotator": "not:asked", "opponent": "reference", "select": "across"},
    )
    moved(made, 1, 0.25)
    policy = made.load(1)
    rival = made.opponent(2, policy)
    average = load_policy(made.reference(2)[0])
    ids = torch.arange(5, 15)[None]
    with torch.no_grad(), rival.plain_attention(), average.plain_attention():
        ours, theirs = rival.inner(ids).logits, average.inner(ids).logits
    torch.testing.assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("history", "first", "second"),
    [
        ("initial", "initial", "MODEL"),
        ("previous_round", "initial", "initial"),
        ("some/model", "some/model", "some/model"),
        (None, None, None),
    ],
)
def test_what_training_calls_the_earlier_iterate(models, recipe, history, first, second) -> None:
    made = models(history=history)
    named = recipe["model"]["path"] if second == "MODEL" else second
    assert (made.history(1), made.history(2)) == (first, named)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"online": None}, r"recipe.online: missing. Give at least"),
        ({"model": {"kind": "reward"}, "objective": "bradley_terry"}, "rounds are of a policy"),
        ({"objective": "plackett_luce"}, "learns from rankings. Set `select: listwise`"),
    ],
)
def test_a_recipe_that_is_none_for_rounds(recipe, keys, said) -> None:
    model = recipe["model"] | keys.pop("model", {})
    given = recipe | {"online": {"annotator": "not:asked"}, "model": model} | keys
    with pytest.raises(RecipeError, match=said):
        check_online(load_recipe(given))
