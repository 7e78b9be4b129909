"""Annotators that nobody named, found by the heads of a reward model."""

import itertools
import json
import random

import pytest
import torch

from luce.annotate.scorers import reward_scorer
from luce.data.pack import micro_batches, pack
from luce.data.template import Renderer
from luce.errors import DataError, RecipeError
from luce.models.policy import load_policy
from luce.models.reward import load_reward_model
from luce.objectives import Mixture, make_objective
from luce.recipe.annotators import choose_annotators
from luce.recipe.load import load_recipe
from luce.recipe.prepare import check_fit
from luce.recipe.run import train_run
from luce.train.batch import collate
from luce.train.learners import RewardLearner
from luce.types import Group, Place, Preference

SHARE = 0.3
"""Of the annotators who look for `plus`; the others look for `star`. Two rewards for four texts and
their shares are one number more than the six chances of the pairs tell: the shares are not sought
here, but in `test_two_tastes.py`."""


def world(n: int, seed: int) -> tuple[list[dict], list[int]]:
    """Pairs, each judged by one of two tastes, and by which; a tie is a coin."""
    draw = random.Random(seed)
    rows, who = [], []
    while len(rows) < n:
        sides = [[draw.random() < 0.5 for _ in range(2)] for _ in range(2)]
        if sides[0] == sides[1]:
            continue
        annotator = 0 if draw.random() < SHARE else 1
        apart = sides[0][annotator] - sides[1][annotator]
        first = apart > 0 if apart else draw.random() < 0.5
        texts = [
            f"{'plus' if plus else 'none'} {'star' if star else 'none'}" for plus, star in sides
        ]
        chosen, rejected = texts if first else texts[::-1]
        rows.append({"prompt": "which", "chosen": chosen, "rejected": rejected})
        who.append(annotator)
    return rows, who


def groups_of(rows: list[dict], renderer: Renderer) -> list[Group]:
    return [
        renderer.group(Preference(**row, place=Place("x", i), id=str(i)))
        for i, row in enumerate(rows)
    ]


@pytest.fixture
def tastes(recipe, tmp_path):
    rows, _ = world(2000, 0)
    (tmp_path / "tastes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["data"] = {"path": str(tmp_path / "tastes.jsonl"), "eval": None}
    recipe["model"] |= {"kind": "reward"}
    recipe["train"] |= {
        "batch_size": 64,
        "max_steps": 700,
        "learning_rate": 3e-3,
        "save_steps": 500,
    }
    return recipe


def judged(folder, objective, rows):
    """The mixture's margins on rows, and who judged each according to it."""
    model = load_reward_model(str(folder / "model"))
    learner, groups = RewardLearner(model), groups_of(rows, Renderer(model.tokenizer))
    margins, shares = {}, {}
    with torch.no_grad():
        for part in micro_batches(groups, 4096):
            chosen = [groups[i] for i in part]
            batch = collate(learner.respond(chosen), chosen, "pair")
            found = objective.margin(batch)
            margins |= dict(zip(part, found.tolist(), strict=True))
            if isinstance(objective, Mixture):
                shares |= dict(zip(part, objective.responsibilities(batch).tolist(), strict=True))
    order = range(len(rows))
    return model, [margins[i] for i in order], [shares.get(i) for i in order]


def truth() -> tuple[list[dict], torch.Tensor]:
    """Every pair of texts, and how often its first is preferred."""
    texts = list(itertools.product((False, True), repeat=2))
    rows, chances = [], []
    for pair in itertools.combinations(texts, 2):
        ahead = [(1 + a - b) / 2 for a, b in zip(*pair, strict=True)]
        chances.append(SHARE * ahead[0] + (1 - SHARE) * ahead[1])
        chosen, rejected = (f"{'plus' if p else 'none'} {'star' if q else 'none'}" for p, q in pair)
        rows.append({"prompt": "which", "chosen": chosen, "rejected": rejected})
    return rows, torch.tensor(chances)


def expected(margins, chances):
    """Nats that a label costs under these margins, labels being as often so as they are."""
    z, p = torch.tensor(margins), chances
    softplus = torch.nn.functional.softplus
    return float((p * softplus(-z) + (1 - p) * softplus(z)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["gradient", "em"])
def test_two_tastes_explain_what_one_reward_cannot(fit, tastes, tmp_path):
    """The best single reward costs 0.0135 nats a label more than the two tastes do."""
    parameters = {"K": 2, "of": "reward", "fit": fit}
    tastes["objective"] = {"mixture": parameters}
    mixture, (pairs, chances) = make_objective("mixture", parameters), truth()
    folder = train_run(tastes)
    model, margins, _ = judged(folder, mixture, pairs)
    assert model.heads.outputs == 2 and sum(model.numbers.tolist()) == pytest.approx(1)

    tastes["objective"], tastes["output_dir"] = "bradley_terry", str(tmp_path / "single")
    _, alone, _ = judged(train_run(tastes), make_objective("bradley_terry", {}), pairs)
    assert expected(margins, chances) < expected(alone, chances) - 0.003

    rows, who = world(600, 1)
    _, _, shares = judged(folder, mixture, rows)
    apart = [i for i, row in enumerate(rows) if tells(row)]
    right = sum((shares[i][0] > 0.5) == (who[i] == 0) for i in apart) / len(apart)
    assert len(apart) > 50 and max(right, 1 - right) > 0.8


def tells(row: dict) -> bool:
    """Whether the two tastes disagree on the pair."""
    a, b = [(word in row["chosen"]) - (word in row["rejected"]) for word in ("plus", "star")]
    return a * b < 0


def test_what_heads_and_mixtures_go_with(tastes):
    heads = {"mixture": {"of": "reward"}}
    for objective, model, train, message in (
        ("mixture", {"kind": "policy"}, {}, "model.lora"),
        ("mixture", {"kind": "policy", "lora": {}}, {"gradient_checkpointing": True}, "layers"),
        (heads, {"kind": "policy"}, {}, "reward"),
        (heads, {"kind": "reward", "annotators": "heads"}, {}, "does not go with objective.mix"),
        ("bradley_terry", {"kind": "reward", "annotators": "heads", "ensemble": 2}, {}, "ensemble"),
        ("dpo", {"kind": "policy", "annotators": "heads"}, {}, "wants a reward model"),
        ("bradley_terry", {"kind": "pairwise", "pairwise": "tokens", "ensemble": 2}, {}, "tokens"),
    ):
        given = tastes | {"objective": objective, "train": tastes["train"] | train}
        given["model"] = {"path": tastes["model"]["path"]} | model
        resolved = load_recipe(given)
        with pytest.raises(RecipeError, match=message):
            check_fit(resolved.recipe, resolved.objective)
    for objective in ("dpo", heads, "rrhf"):
        with pytest.raises(RecipeError, match=r"^recipe.model.ensemble: no ensemble|.*no ensemble"):
            load_recipe(tastes | {"objective": objective, "model": {"path": "x", "ensemble": 2}})


# --- annotators with names -----------------------------------------------------------------------


def write_named(path, n, seed=0):
    rows, who = world(n, seed)
    named = [
        row | {"annotator": "ann" if w == 0 else "bob"} for row, w in zip(rows, who, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in named))


@pytest.mark.parametrize("how", ["heads", "offsets", "temperatures"])
def test_a_run_with_named_annotators(how, tastes, tmp_path):
    write_named(tmp_path / "tastes.jsonl", 60)
    tastes["model"] |= {"annotators": how}
    tastes["objective"] = "bradley_terry"
    tastes["data"]["eval"] = str(tmp_path / "tastes.jsonl")
    tastes["train"] |= {"max_steps": 2, "batch_size": 8}
    folder = train_run(tastes)
    model = load_reward_model(str(folder / "model"))
    kinds = {"heads": "annotators", "offsets": "offsets", "temperatures": "temperatures"}
    assert (model.heads.kind, model.heads.names) == (kinds[how], ("ann", "bob"))
    facts = json.loads((folder / "manifest.json").read_text())["model"]
    assert facts["parameters"] == facts["trainable_parameters"]
    assert (facts["heads"]["numbers"] is not None) == (how == "temperatures")
    found = json.loads((folder / "evaluation.json").read_text())["held_out"]
    assert set(found["by_annotator"]) == {"ann", "bob"}
    scorer = reward_scorer(model, Renderer(model.tokenizer), annotator="bob")
    assert len(scorer("which", ["plus star", "none none"])) == 2


def test_rows_without_annotators_have_no_named_heads(tastes):
    tastes["model"] |= {"annotators": "heads"}
    tastes["objective"] = "bradley_terry"
    with pytest.raises(DataError, match="no row names its `annotator`"):
        train_run(tastes)


@pytest.mark.slow
def test_whoever_has_a_name_is_told_apart(tastes, tmp_path):
    write_named(tmp_path / "tastes.jsonl", 900)
    write_named(tmp_path / "held_out.jsonl", 300, seed=1)
    tastes["data"]["eval"] = str(tmp_path / "held_out.jsonl")
    tastes["objective"] = "bradley_terry"
    found = {}
    for how in (None, "heads", "offsets"):
        tastes["output_dir"] = str(tmp_path / str(how))
        tastes["model"]["annotators"] = how
        evaluation = json.loads((train_run(tastes) / "evaluation.json").read_text())
        found[how] = evaluation["calibration"]["nll"]
    assert found["heads"] < found[None] - 0.05 and found["offsets"] < found[None] - 0.05


# --- ensembles ------------------------------------------------------------------------------------


def test_a_run_of_an_ensemble(tastes, tmp_path):
    write_named(tmp_path / "tastes.jsonl", 60)
    tastes["model"] |= {"ensemble": 3}
    tastes["objective"] = "bradley_terry"
    tastes["data"]["eval"] = str(tmp_path / "tastes.jsonl")
    tastes["train"] |= {"max_steps": 3, "batch_size": 8}
    folder = train_run(tastes)
    model = load_reward_model(str(folder / "model"))
    assert (model.heads.kind, model.heads.names) == ("ensemble", ("1", "2", "3"))
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("rewards/std" in line for line in metrics if line["split"] == "train")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "the mean over 3 rewards, each on its own draw" in manifest["objective"]["formula"]
    assert manifest["model"]["heads"]["names"] == ["1", "2", "3"]
    assert "members of an ensemble: 1, 2, 3" in (folder / "report.html").read_text()
    assert json.loads((folder / "evaluation.json").read_text())["calibration"]["n"] == 60


# --- how many -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_number_of_annotators_is_found(tastes, tmp_path):
    rows, _ = world(4000, 2)  # intervals draw prompts
    rows = [row | {"prompt": f"which {i}"} for i, row in enumerate(rows)]
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tastes["data"]["eval"] = str(tmp_path / "held_out.jsonl")
    tastes["objective"] = "bradley_terry"
    found = choose_annotators(tastes, ks=(1, 2, 3))
    assert found.chosen == 2 and "2 annotators explain the labels better than 1" in found.verdict
    two = found.candidates[1]
    assert two.gain.low > 0 and two.over == 1 and found.candidates[2].over == 2
    assert choose_annotators(tastes, ks=(1, 2, 3)).plain() == found.plain()  # nothing run again


def test_one_annotator_has_no_weights_to_find(tastes, tmp_path):
    write_named(tmp_path / "tastes.jsonl", 20)
    tastes["objective"] = {"mixture": {"K": 1, "of": "reward", "fit": "em"}}
    tastes["train"] |= {"max_steps": 1, "batch_size": 8}
    tastes["data"]["eval"] = str(tmp_path / "tastes.jsonl")
    found = choose_annotators(tastes, ks=(1,))
    assert found.chosen == 1 and found.candidates[0].weights == (1.0,)
    assert "One annotator explains the labels as well as up to 1" in found.verdict
    assert found.candidates[0].gain is None and "gain" not in found.lines()[0]


def test_choosing_takes_a_reward_model_and_held_out_pairs(tastes):
    for change, ks in (({}, (1, 2)), ({"eval": 0.5}, (2, 1)), ({"eval": 0.5}, ())):
        given = tastes | {"data": tastes["data"] | change, "objective": "bradley_terry"}
        with pytest.raises(RecipeError, match="data.eval|rising order"):
            choose_annotators(given, ks=ks)
    with pytest.raises(RecipeError, match="or a mixture for the objective"):
        choose_annotators(tastes | {"objective": "dpo", "model": {"path": "x"}})


# --- policies -------------------------------------------------------------------------------------


def test_a_run_of_a_mixture_of_policies(tastes, tmp_path):
    write_named(tmp_path / "tastes.jsonl", 40)
    tastes["model"] = {"path": tastes["model"]["path"], "lora": {"r": 4}}
    tastes["objective"] = {"mixture": {"K": 3, "of": "ratio", "beta": 0.5}}
    tastes["data"]["eval"] = str(tmp_path / "tastes.jsonl")
    tastes["train"] |= {"max_steps": 3, "batch_size": 8}
    folder = train_run(tastes)
    told = json.loads((folder / "annotators.json").read_text())
    assert told["policies"] == {"1": "model", "2": "annotators/2", "3": "annotators/3"}
    assert sum(told["weights"].values()) == pytest.approx(1)
    row = pack(groups_of(world(4, 3)[0], Renderer(load_policy(str(folder / "model")).tokenizer)))
    answers = [load_policy(str(folder / p)).log_probs(row) for p in told["policies"].values()]
    for i, j in ((0, 1), (1, 2)):
        assert (answers[i] - answers[j]).abs().max() > 1e-4
    again = tastes | {"output_dir": str(tmp_path / "em")}
    again["objective"] = {"mixture": {"K": 2, "of": "mean", "beta": 5, "fit": "em"}}
    found = choose_annotators(again, ks=(1, 2))
    weights = found.candidates[1].weights
    assert sum(weights) == pytest.approx(1) and len(weights) == 2
    assert found.candidates[0].weights == (1.0,)


# --- dimensions of rating -------------------------------------------------------------------------


def rated(text):
    return {"plus": float("plus" in text), "star": 3.0 + ("star" in text)}


def test_a_run_with_dimensions_of_rating(tastes, tmp_path):
    rows, _ = world(60, 4)
    rows = [
        row | {f"ratings_{side}": rated(row[side]) for side in ("chosen", "rejected")}
        for row in rows
    ]
    rows[3].pop("ratings_chosen")
    rows[4]["ratings_rejected"]["star"] = None
    (tmp_path / "tastes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tastes["objective"] = {"bradley_terry": {"ratings": 1.0}}
    tastes["data"]["eval"] = str(tmp_path / "tastes.jsonl")
    tastes["train"] |= {"max_steps": 40, "batch_size": 20, "learning_rate": 3e-3}
    folder = train_run(tastes)
    model = load_reward_model(str(folder / "model"))
    assert model.heads.kind == "dimensions" and model.heads.names == ("plus", "star")
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    misses = [line["ratings/mse"] for line in metrics if line["split"] == "train"]
    assert misses[0] > 0.5 and misses[-1] < 0.3 * misses[0]
    plus = reward_scorer(model, Renderer(model.tokenizer), annotator="plus")
    high, low = plus("which", ["plus none", "none none"])
    assert high - low > 0.5


def test_ratings_are_looked_for(tastes):
    tastes["objective"] = {"bradley_terry": {"ratings": 1.0}}
    with pytest.raises(DataError, match="no row has `ratings_chosen` or `ratings_rejected`"):
        train_run(tastes)


def test_ratings_that_are_all_the_same_teach_nothing(tastes, tmp_path):
    rows, _ = world(6, 4)
    rows = [row | {"ratings_chosen": {"plus": 2}, "ratings_rejected": {"plus": 2}} for row in rows]
    (tmp_path / "tastes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tastes["objective"] = {"bradley_terry": {"ratings": 1.0}}
    with pytest.raises(DataError, match="all 12 ratings of 'plus' are 2"):
        train_run(tastes)
