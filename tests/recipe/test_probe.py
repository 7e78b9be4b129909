"""A probe: the numbers of separate runs, weights put back, bounds, reasons, and every kind of
recipe."""

import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from luce.cli.main import run as luce
from luce.errors import LuceError, RecipeError
from luce.intervals import Estimate
from luce.recipe.load import load_recipe
from luce.recipe.probe import beta_of, probe, probe_lines
from luce.recipe.probe_advice import (
    CHOSEN_FALL,
    KL_PER_STEP,
    advise_beta,
    advise_learning_rate,
    refusal,
)
from luce.recipe.probe_measure import Measured
from luce.recipe.run import train_run

QUIET = Console(quiet=True)


@pytest.fixture
def file(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


def change(file, **sections):
    recipe = json.loads(file.read_text())
    for key, value in sections.items():
        old = recipe.get(key)
        both = isinstance(old, dict) and isinstance(value, dict) and key != "objective"
        recipe[key] = {**old, **value} if both else value
    file.write_text(json.dumps(recipe))
    return file


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def close(mine, theirs):
    """The same numbers: to the bit where rows are packed alike, else to rounding."""
    assert {k for k in theirs if k != "eval_divergence/squared"} <= set(mine)
    for name, value in mine.items():
        if isinstance(value, float):
            assert value == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name
        else:
            assert value == theirs[name], name


@pytest.mark.slow
def test_the_numbers_are_those_of_separate_runs_in_whatever_order(file, tmp_path):
    change(file, train={"batch_size": 8})
    found = probe(file, steps=6, learning_rates=[3e-4, 3e-5], betas=[0.5, 2.0], console=QUIET)
    settings = {one.overrides: one for one in (*found.rates, *found.betas)}
    assert len(settings) == 3  # the second learning rate, or the first, at the recipe's β once
    for number, (overrides, one) in enumerate(settings.items()):
        folder = train_run(file, [*overrides, f"output_dir={tmp_path / str(number)}"])
        theirs = [r for r in lines(folder / "metrics.jsonl") if r["split"] in ("train", "eval")]
        steps = [r for r in one.records if r["split"] == "train"]
        for mine, their in zip(steps, [r for r in theirs if r["split"] == "train"], strict=True):
            close(mine, their)
        close(one.records[0], theirs[0])
        close(one.records[-1], theirs[-1])
        kl = json.loads((folder / "evaluation.json").read_text())["kl"]
        assert one.kl.value == pytest.approx(kl["value"], abs=1e-4) and one.kl.n == kl["n"]
        before, after = theirs[0], theirs[-1]
        apart = after["eval_logps_per_token/chosen"] - before["eval_logps_per_token/chosen"]
        assert one.chosen.value == pytest.approx(apart, abs=1e-5)
        grown = after["eval_rewards/margins"] - before["eval_rewards/margins"]
        assert one.margin.value == pytest.approx(grown / 6, abs=1e-5)


def test_it_leaves_a_page_and_numbers_and_no_model(file, tmp_path, capsys):
    assert luce(["probe", str(file), "--steps", "4", "--learning-rates", "1e-5,3e-5"]) == 0
    folder = tmp_path / "run-probe"
    assert not (tmp_path / "run").exists()
    assert {p.name for p in folder.iterdir() if p.name != ".lock"} == {
        "probe.json", "probe.html", "recipe.yaml", "reference",
    }  # fmt: skip
    found = json.loads((folder / "probe.json").read_text())
    assert found["beta_key"] == "objective.dpo.beta" and len(found["betas"]) == 5
    assert found["recommended"]["train.learning_rate"] in (1e-5, 3e-5)
    assert found["learning_rates"][0]["kl_from"] == "samples"
    page = (folder / "probe.html").read_text("utf-8")
    assert (
        "http://" not in page
        and "https://" not in page
        and "<script" not in page
        and 'id="betas-kl-title"' in page
    )
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "recommended: train.learning_rate=" in text


def test_the_default_grid_is_around_the_recipes_values(file):
    found = probe(file, ["evaluate.sample_prompts=0"], steps=2, console=QUIET)
    assert [one.learning_rate for one in found.rates] == [0.0002, 0.000667, 0.002, 0.006, 0.02]
    assert [one.beta for one in found.betas] in ([], [0.05, 0.167, 0.5, 1.5, 5.0])


def test_a_setting_that_is_not_finite_is_told_and_does_no_harm_to_the_next(file):
    some = [3e-5, 1e30]
    found = probe(file, steps=4, learning_rates=some, betas=[0.5], console=QUIET)
    good, bad = found.rates
    assert "not finite at step 2" in bad.failure and bad.kl is None
    assert not good.failure and found.rate_advice.value == 3e-5
    assert "1e+30 will not do: cost or gradient is not finite" in found.rate_advice.reason
    json.dumps(found.plain(), allow_nan=False)
    # measured after the one that broke down: β 0.25 starts from the same weights
    again = probe(
        file, steps=4, learning_rates=some[::-1], betas=[0.25, 0.5], console=QUIET,
        out=found.folder.with_name("other"),
    )  # fmt: skip
    assert again.betas[0].records[0]["eval_logps/chosen"] == good.records[0]["eval_logps/chosen"]
    nowhere = probe(file, steps=4, learning_rates=[1e30], console=QUIET)
    assert nowhere.recommended == {} and not nowhere.betas
    assert "Try smaller ones with --learning-rates" in nowhere.rate_advice.reason


def test_the_exit_code_says_that_nothing_will_do(file, capsys):
    assert luce(["probe", str(file), "--steps", "3", "--learning-rates", "1e30"]) == 1
    assert "Try smaller ones" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("objective", "kind", "key"),
    [
        ("orpo", "policy", None),
        ("bradley_terry", "reward", None),
        ({"ipo": {"tau": 0.2}}, "policy", "objective.ipo.tau"),
        ({"simpo": {"beta": 2.0}}, "policy", "objective.simpo.beta"),
    ],
)
def test_recipes_without_beta_of_reward_models_and_of_other_names(file, objective, kind, key):
    change(file, objective=objective, model={"kind": kind}, reference="initial")
    found = probe(file, steps=3, learning_rates=[0.001, 0.002], betas=None, console=QUIET)
    assert found.beta_key == key and bool(found.betas) == (
        key is not None and found.rate_advice.value is not None
    )
    assert all(one.accuracy is not None and one.margin is not None for one in found.rates)
    assert all((one.kl is None) == (kind == "reward") for one in found.rates)
    assert all((one.chosen is None) == (kind == "reward") for one in found.rates)
    assert max(map(len, probe_lines(found))) <= 80


def test_demonstrations_and_single_judged_responses(file, tmp_path):
    change(file, objective="sft", evaluate={"sample_prompts": 4})
    found = probe(file, steps=3, learning_rates=[0.01], console=QUIET, out=tmp_path / "sft")
    (one,) = found.rates
    assert one.accuracy is None and one.kl is None and len(one.quality) == one.records[0]["n"]
    assert "held-out loss" in found.rate_advice.reason and found.rate_advice.value == 0.01
    change(file, objective="kto")
    found = probe(file, steps=3, learning_rates=[0.01], betas=[0.1], console=QUIET,
                  out=tmp_path / "kto")  # fmt: skip
    assert found.rates[0].margin is not None and found.rates[0].chosen is not None


def test_an_adapter_goes_back_to_where_it_was(file):
    change(file, model={"lora": {"r": 4, "alpha": 8.0}})
    found = probe(file, steps=3, learning_rates=[0.001, 0.1], betas=[0.5], console=QUIET)
    first, second = (one.records[0] for one in found.rates)
    assert first["eval_rewards/margins"] == second["eval_rewards/margins"] == 0
    assert found.rates[1].kl.value != 0


def test_where_nothing_is_sampled_kl_is_half_the_squared_loss_on_the_data(file, tmp_path):
    change(file, evaluate={"sample_prompts": 0}, data={"eval": 0.4})
    found = probe(file, steps=4, learning_rates=[0.003], betas=[0.5], console=QUIET)
    (one,) = found.rates
    assert one.kl_from == "held-out rows" and "held-out rows" in probe_lines(found)[2]
    folder = train_run(file, [*one.overrides, f"output_dir={tmp_path / 'alone'}"])
    rows = lines(folder / "held_out.jsonl")
    # the score is 0.5 · log π/π_ref, so the margin halves ρ_chosen − ρ_rejected; KL ≈ ½ · ½ E[ρ²]
    squares = [(row["margin"] / 0.5) ** 2 for row in rows]
    assert one.kl.value == pytest.approx(sum(squares) / len(squares) / 4, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "1"], "--steps: expected 2 or more"),
        (["--learning-rates", "1e-3,x"], "--learning-rates: expected numbers above 0"),
        (["--learning-rates", "1e-3,0.001"], "given twice"),
        (["--betas", "-1"], "--betas: expected numbers above 0"),
        (["objective=orpo", "--betas", "0.1"], "'orpo' has no β"),
        (["data.eval=null"], "recipe.data.eval: null"),
        (["train.lerning_rate=1"], "Did you mean 'learning_rate'?"),
        (["online.annotator=x:y"], "recipe.online"),
    ],
)
def test_what_is_wrong_names_the_place_and_the_remedy(file, capsys, arguments, said):
    assert luce(["probe", str(file), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_folder_of_a_run_is_not_written_to(file, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "manifest.json").write_text("{}")
    with pytest.raises(LuceError, match="holds a run already"):
        probe(file, out=tmp_path / "used", console=QUIET)


def test_beta_by_its_name(file):
    def of(*overrides):
        return beta_of(load_recipe(file, overrides))

    assert of() == ("objective.dpo.beta", 0.5)
    assert of("objective=rso_hinge") == ("objective.rso_hinge.gamma", 0.05)
    assert of("objective=orpo") == (None, None)
    with pytest.raises(RecipeError):
        of("objective=dop")


def flat(value):
    return Estimate(value, value - 0.001, value + 0.001, 100)


def measured(rate, beta=None, kl=0.5, chosen=0.0, right=0.7, loss=0.6, failure=""):
    quality = tuple(float(i < 100 * right) for i in range(100))
    prompts = tuple(str(i).encode() for i in range(100))
    return Measured(
        rate, beta, (), 50, failure, (0.69, loss), flat(chosen), flat(-0.1), flat(0.01),
        Estimate(right, right - 0.09, right + 0.08, 100), flat(kl), "samples", flat(9.0), 1.0,
        (), quality, prompts,
    )  # fmt: skip


def test_each_bound_refuses_and_says_why():
    edge = KL_PER_STEP * 50
    assert refusal(measured(1.0, kl=edge, chosen=-CHOSEN_FALL)) == ""
    assert "KL of 0.06 nats a step" in refusal(measured(1.0, kl=3.0))
    assert "fell by 0.3 nats a token" in refusal(measured(1.0, chosen=-0.3))
    assert "did not fall" in refusal(measured(1.0, loss=0.69))
    assert "did not fall" in refusal(measured(1.0, loss=math.nan))
    assert refusal(measured(1.0, failure="broke at step 3")) == "broke at step 3"


def test_the_largest_learning_rate_that_passes_is_taken():
    tried = [measured(1.0), measured(3.0, right=0.72), measured(9.0, kl=4.0, right=0.9)]
    found = advise_learning_rate(tried)
    assert found.value == 3.0 and "9 will not do: KL of 0.08 nats a step" in found.reason
    assert "No larger one was tried" in advise_learning_rate(tried[:2]).reason


def test_one_that_is_surely_worse_is_not_taken_however_tame():
    tried = [measured(1.0, right=0.9), measured(3.0, right=0.6)]
    found = advise_learning_rate(tried)
    assert found.value == 1.0 and "held-out accuracy 60.0 % is surely worse" in found.reason
    # 2 rows of 100 apart are no evidence
    assert advise_learning_rate([measured(1.0, right=0.9), measured(3.0, right=0.88)]).value == 3.0


def test_beta_stays_unless_there_is_evidence():
    tried = [measured(1.0, beta=b) for b in (0.1, 0.3, 0.9)]
    assert advise_beta(tried, 0.3).value == 0.3
    loose = [measured(1.0, beta=0.1, kl=9.0), measured(1.0, beta=0.3, kl=3.0), tried[2]]
    found = advise_beta(loose, 0.3)
    assert found.value == 0.9 and "0.3 will not do: KL of 0.06" in found.reason
    better = [replace(tried[0], beta=0.1), replace(measured(1.0, right=0.9), beta=0.9), tried[1]]
    found = advise_beta(better, 0.3)
    assert found.value == 0.9 and "surely worse" in found.reason
    none = [measured(1.0, beta=b, kl=9.0) for b in (0.1, 0.3)]
    assert advise_beta(none, 0.3).value is None
