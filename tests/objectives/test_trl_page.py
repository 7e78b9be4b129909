"""Every number of docs/trl.md, computed by TRL 1.16 and by `luce cost` on the rows of the page."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl_driver import trl_cpo, trl_dpo, trl_orpo, without_constructor

from luce.objectives.presets import dpo_nll, ln_dpo, orpo
from luce.recipe.cost import run_cost
from luce.types import Pairs, Responses

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trl.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = re.findall(r"```json\n(.*?)```", TEXT, flags=re.S)[0]
PROMPT = torch.tensor([-2.5], dtype=torch.float64)


def pairs() -> Pairs:
    """The rows of the page as TRL is given them."""
    rows = [json.loads(line) for line in ROWS.splitlines()]

    def side(role: str) -> Responses:
        given = [row[role] for row in rows]
        values = {
            key: torch.tensor([x for y in given for x in y[key]], dtype=torch.float64)
            for key in ("policy", "reference", "sum_p2")
        }
        lengths = torch.tensor([len(y["policy"]) for y in given])
        policy = values["policy"].requires_grad_()
        return Responses(policy, lengths, values["reference"], {"sum_p2": values["sum_p2"]})

    return Pairs(side("chosen"), side("rejected"))


@dataclass(frozen=True)
class Difference:
    """A row of the page's table: what TRL computes, and which objective of luce is compared."""

    theirs: Callable[[Pairs], torch.Tensor]
    objective: str
    settings: dict[str, Any]


def by_dpo(*loss_types: str, **settings: Any) -> Callable[[Pairs], torch.Tensor]:
    return lambda pairs: trl_dpo(pairs, loss_types, **settings)


def by_cpo(**settings: Any) -> Callable[[Pairs], torch.Tensor]:
    return lambda pairs: trl_cpo(pairs, **settings)


def in_float32(pairs: Pairs) -> torch.Tensor:
    def single(y: Responses) -> Responses:
        assert y.reference is not None
        return Responses(y.policy.float(), y.lengths, y.reference.float())

    settings = {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7}
    given = Pairs(single(pairs.chosen), single(pairs.rejected))
    return trl_dpo(given, "sigmoid", beta=1.0, **settings)


MPO = {"weights": [0.8, 0.2, 1.0]}
DIFFERENCES = {
    "DPO `sigmoid`, `label_smoothing` 0.1": Difference(
        by_dpo("sigmoid", label_smoothing=0.1), "cdpo", {"eps": 0.1}
    ),
    "DPO `ipo`": Difference(by_dpo("ipo"), "ipo", {}),
    "DPO `hinge`": Difference(by_dpo("hinge"), "slic", {"lam": 0}),
    "DPO `sigmoid_norm`": Difference(by_dpo("sigmoid_norm"), "ln_dpo", {}),
    "DPO `sppo_hard`, `beta` 0.001": Difference(by_dpo("sppo_hard", beta=1e-3), "sppo", {}),
    "DPO `bco_pair`, `beta` 1": Difference(by_dpo("bco_pair", beta=1.0), "bco", {"beta": 1}),
    "DPO `alpha_divergence`, coefficient 0.7, `beta` 1": Difference(
        in_float32, "fdpo", {"beta": 1, "divergence": "alpha", "alpha": 0.7}
    ),
    "DPO `use_weighting`, `beta` 0.01": Difference(
        by_dpo("sigmoid", use_weighting=True, beta=0.01), "wpo", {}
    ),
    "DPO `[sigmoid, sft]`": Difference(by_dpo("sigmoid", "sft"), "dpo_nll", {}),
    "DPO `[sigmoid, bco_pair, sft]`": Difference(
        by_dpo("sigmoid", "bco_pair", "sft", weights=MPO["weights"]), "mpo", {}
    ),
    "CPO `sigmoid`": Difference(by_cpo(loss_type="sigmoid", beta=0.1, cpo_alpha=1.0), "cpo", {}),
    "CPO `simpo`": Difference(
        by_cpo(loss_type="simpo", beta=0.1, simpo_gamma=0.5, cpo_alpha=1.0), "simpo", {}
    ),
    "CPO `sigmoid`, `alpha` 0.25": Difference(
        by_cpo(loss_type="sigmoid", beta=2.5, alpha=0.25, cpo_alpha=0.0),
        "alphapo",
        {"gamma": 0},
    ),
    "ORPO": Difference(lambda pairs: trl_orpo(pairs, 0.1, PROMPT), "orpo", {}),
}


def mean(tmp_path: Path, objective: str, settings: dict[str, Any]) -> float:
    """What `luce cost` gives for the rows of the page."""
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS)
    costs = [row["cost"] for row in run_cost(path, objective, settings)]
    return sum(costs) / len(costs)


def cell(value: float) -> str:
    return f"{value:.6g}"


def named(objective: str, settings: dict[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"`{objective}({inside})`"


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_numbers_of_the_page_are_those_of_both(name, tmp_path):
    d = DIFFERENCES[name]
    theirs = d.theirs(pairs()).item()
    ours = mean(tmp_path, d.objective, d.settings)
    row = f"| {name} | {cell(theirs)} | {named(d.objective, d.settings)} | {cell(ours)} |"
    assert row in TEXT, row
    assert cell(theirs) != cell(ours)


SAME_AGAIN = {
    "DPO `sigmoid`, `label_smoothing` 0.1": ("dpo", {}),
    "DPO `ipo`": ("ipo", {"per_token": True}),
    "DPO `hinge`": ("gpo_hinge", {}),
    "DPO `sigmoid_norm`": ("ln_dpo", {"beta": 0.1}),
    "DPO `alpha_divergence`, coefficient 0.7, `beta` 1": (
        "fdpo",
        {"beta": 1, "divergence": "alpha", "alpha": 0.3},
    ),
    "DPO `use_weighting`, `beta` 0.01": ("wpo", {"clamp": False}),
}


@pytest.mark.parametrize("name", SAME_AGAIN)
def test_the_settings_that_the_page_names_give_its_number(name, tmp_path):
    objective, settings = SAME_AGAIN[name]
    theirs = DIFFERENCES[name].theirs(pairs()).item()
    tolerance = 1e-6 if "alpha_divergence" in name else 1e-12
    assert mean(tmp_path, objective, settings) == pytest.approx(theirs, abs=tolerance)
    table = TEXT.split("## What differs")[1]
    row = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
    assert named(objective, settings) in row


def test_every_row_of_the_table_is_computed():
    table = TEXT.split("## What differs")[1].split("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
    assert {line.split(" | ")[0].removeprefix("| ") for line in rows} == set(DIFFERENCES)


# --- where numbers end ---------------------------------------------------------------------------


def one_pair(chosen: float, rejected: float, dtype: torch.dtype = torch.float32) -> Pairs:
    """Responses of one token, against a reference of 0."""
    sides = [
        Responses(
            torch.tensor([value], dtype=dtype).requires_grad_(),
            torch.tensor([1]),
            torch.zeros(1, dtype=dtype),
        )
        for value in (chosen, rejected)
    ]
    return Pairs(*sides)


def test_its_discopop_overflows(tmp_path):
    """z = −90 in float32: m underflows to 0, e^−z overflows."""
    theirs = trl_dpo(one_pair(-1800.0, 0.0), "discopop", beta=0.05)
    assert theirs.isnan()
    y, z = ({"policy": [x], "reference": [0]} for x in (-1800, 0))
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"chosen": y, "rejected": z}) + "\n")
    (ours,) = run_cost(path, "discopop", {}, dtype="float32", grad=True)
    assert ours["cost"] == 90.0
    assert "| DPO `discopop`, z = −90, float32 | nan | 90 |" in TEXT


def test_its_alpha_of_sums_underflows():
    pair = one_pair(-120.0, -1.0)
    theirs = trl_cpo(pair, torch.zeros(0), loss_type="sigmoid", beta=2.5, alpha=0.25, cpo_alpha=0.0)
    assert not theirs.isfinite()
    assert f"| CPO `sigmoid`, `alpha` 0.25, log π = −120, float32 | {theirs.item()} |" in TEXT


def test_its_alpha_divergence_has_no_float64():
    settings = {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7}
    with pytest.raises(KeyError):
        trl_dpo(one_pair(-1.0, -2.0, torch.float64), "sigmoid", **settings)
    assert "| DPO `alpha_divergence`, float64 | KeyError |" in TEXT


def test_its_orpo_has_no_gradient_at_probability_one():
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    trainer = without_constructor(ORPOTrainer, beta=0.1)
    certain = torch.zeros(1, requires_grad=True)
    losses = trainer.odds_ratio_loss(certain, torch.tensor([-1.0]))[0]
    (theirs,) = torch.autograd.grad(losses.sum(), certain)
    assert theirs.isnan().all()
    pair = one_pair(0.0, -1.0)
    (ours,) = torch.autograd.grad(orpo()(pair).sum(), pair.chosen.policy)
    assert "| ORPO, gradient at log π = 0, float32 | nan |" in TEXT
    assert f"| {cell(ours.item())} |" in TEXT


def test_its_exo_has_no_default():
    """At ε = 0 the divergence of a hard label is infinite; its constructor refuses it."""
    theirs = trl_dpo(one_pair(-1.0, -2.0), "exo_pair", label_smoothing=0.0)
    assert theirs.isinf()
    assert "| DPO `exo_pair`, `label_smoothing` 0, its default | refused |" in TEXT


def test_its_defaults_are_those_that_the_page_names():
    from trl.experimental.cpo.cpo_config import CPOConfig
    from trl.trainer.dpo_config import DPOConfig

    of_cpo = {f.name: f.default for f in fields(CPOConfig)}
    assert (of_cpo["beta"], of_cpo["simpo_gamma"], of_cpo["cpo_alpha"]) == (0.1, 0.5, 1.0)
    of_dpo = {f.name: f.default for f in fields(DPOConfig)}
    assert (of_dpo["beta"], of_dpo["label_smoothing"]) == (0.1, 0.0)
    assert (ln_dpo().parameters["beta"], dpo_nll().parameters["alpha"]) == (5.0, 1.0)
    assert SimpleNamespace(**of_dpo).use_weighting is False
