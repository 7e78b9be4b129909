import re
import subprocess
import sys
from dataclasses import fields

import pytest

from luce.errors import RecipeError
from luce.recipe.load import load_recipe, read_recipe
from luce.recipe.schema import Train
from luce.train.settings import TrainSettings

FILE = """\
model: models/tiny
data:
  path: pairs.jsonl
  eval: 0.1
objective: {dpo: {beta: 0.2}}
train:
  learning_rate: 1e-6
  batch_size: 8
"""
PLAIN = {"model": "m", "data": "d.jsonl", "objective": "dpo"}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hh-dpo.yaml").write_text(FILE)
    return "hh-dpo.yaml"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(file):
    resolved = load_recipe(file, ["objective.dpo.beta=0.05", "train.seed=1", "model.lora.r=8"])
    recipe = resolved.recipe
    assert recipe.objective.parameters == {"beta": 0.05}
    assert (recipe.train.seed, recipe.train.batch_size, recipe.train.epochs) == (1, 8, 1)
    assert recipe.model.lora is not None
    assert (recipe.model.lora.r, recipe.model.lora.alpha) == (8, 32)
    assert {
        key: resolved.provenance[key]
        for key in (
            "name objective.dpo.beta train.seed train.batch_size train.learning_rate train.epochs "
            "model.path model.lora.r model.lora.alpha data.path"
        ).split()
    } == {
        "name": "default",
        "objective.dpo.beta": "command line",
        "train.seed": "command line",
        "train.batch_size": "hh-dpo.yaml:8",
        "train.learning_rate": "hh-dpo.yaml:7",
        "train.epochs": "default",
        "model.path": "hh-dpo.yaml:1",
        "model.lora.r": "command line",
        "model.lora.alpha": "default",
        "data.path": "hh-dpo.yaml:3",
    }


def test_a_small_learning_rate_is_a_number(file):
    assert read_recipe(file)[0].train.learning_rate == 1e-6


def test_the_name_is_the_stem_of_the_file_and_the_output_goes_under_runs(file):
    recipe, _ = read_recipe(file)
    assert (recipe.name, recipe.output_dir) == ("hh-dpo", "runs/hh-dpo")
    assert read_recipe(file, ["name=other"])[0].output_dir == "runs/other"


def test_the_objective_is_the_one_named(file):
    assert load_recipe(file).objective.parameters == {"beta": 0.2}
    switched = load_recipe(file, ["objective=simpo"])
    assert switched.objective.name == "simpo"
    assert switched.recipe.objective.parameters == {"beta": 2.0, "gamma": 1.0}
    assert switched.provenance["objective.simpo.gamma"] == "default"


def test_overrides_of_a_section_come_before_those_of_its_keys(file):
    texts = ["objective.simpo.gamma=0.3", "objective=simpo"]
    for order in (texts, texts[::-1]):
        assert load_recipe(file, order).recipe.objective.parameters == {"gamma": 0.3, "beta": 2.0}


def test_a_parameter_of_a_bare_objective_can_be_set():
    resolved = load_recipe(PLAIN, ["objective.dpo.beta=0.5"])
    assert resolved.recipe.objective.parameters == {"beta": 0.5}


def test_a_default_that_contradicts_what_was_given_is_not_written_out():
    resolved = load_recipe(PLAIN, ["objective={simpo: {gamma_beta_ratio: 0.3}}"])
    assert resolved.recipe.objective.parameters == {"gamma_beta_ratio": 0.3, "beta": 2.0}


def test_a_path_for_the_model_leaves_the_rest_of_the_section(file):
    recipe, _ = read_recipe(file, ["model.lora.r=4", "model=other", "data=more.jsonl"])
    assert recipe.model.path == "other" and recipe.model.lora is not None
    assert (recipe.data.path, recipe.data.eval) == ("more.jsonl", 0.1)


def test_text_on_the_command_line_stays_text_where_the_key_holds_text():
    assert read_recipe(PLAIN, ["name=2026", "model.path=007"])[0].model.path == "007"


def test_an_empty_section_is_a_section_of_defaults():
    assert read_recipe(PLAIN | {"train": None})[0].train == Train()


def test_the_last_of_two_values_for_a_key_counts():
    assert read_recipe(PLAIN, ["train.seed=1", "train.seed=2"])[0].train.seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.lerning_rate=1",
            "recipe.train: no key 'lerning_rate'. Did you mean 'learning_rate'?",
        ),
        ("train.batch_size=8.5", "recipe.train.batch_size: expected int, got 8.5."),
        ("train.batch_size=true", "recipe.train.batch_size: expected int, got true."),
        ("train.batch_size='8'", "recipe.train.batch_size: expected int, got '8'."),
        ("train.batch_size=0", "recipe.train.batch_size: expected 1 or more, got 0."),
        ("train.learning_rate=.nan", "recipe.train.learning_rate: expected a finite number"),
        ("train.learning_rate=fast", "recipe.train.learning_rate: expected float, got 'fast'."),
        ("train.max_steps=a", "recipe.train.max_steps: expected int or null, got 'a'."),
        ("train.bf16=1", "recipe.train.bf16: expected bool, got 1."),
        ("train=3", "recipe.train: expected `key: value` lines, got 3."),
        ("trian.seed=1", "recipe: no key 'trian'. Did you mean 'train'?"),
        ("learning_rate=1", "recipe: no key 'learning_rate'. Did you mean 'train.learning_rate'?"),
        (
            "train.num_train_epochs=1",
            "recipe.train: no key 'num_train_epochs'. Did you mean 'epochs'?",
        ),
        (
            "diagnose=[divergence, overoptimization]",
            "recipe.diagnose: no 'overoptimization'. Did you mean 'over_optimization'?",
        ),
        ("diagnose=[x]", "recipe.diagnose: no 'x'. Known: annotators, calibration, displacement,"),
        ("model.kind=polcy", "recipe.model.kind: no 'polcy'. Did you mean 'policy'?"),
        ("model.lora.rank=3", "recipe.model.lora: no key 'rank'. Did you mean 'r'?"),
        ("model.lora.target_modules=[1]", "recipe.model.lora.target_modules: expected"),
        ("data.eval=1.5", "recipe.data.eval: expected a number below 1.0, got 1.5."),
        ("data.eval=[a]", "recipe.data.eval: expected float, str or null, got ['a']."),
        ("data.columns=x", "recipe.data.columns: expected `key: value` lines, got 'x'."),
        ("name=a/b", "recipe.name: expected a name without slashes, got 'a/b'."),
        ("output_dir=", "recipe.output_dir: is empty."),
        ("objective=dop", "recipe.objective: no 'dop'. Did you mean 'dpo'?"),
        (
            "objective.dpo.bta=1",
            "recipe.objective.dpo: no parameter 'bta'. Did you mean 'beta'? (command line)",
        ),
        ("objective.dpo.beta=x", "recipe.objective.dpo.beta: 'x' is not a number."),
        ("objective.simpo.beta=2", "Write `objective=simpo` as well"),
        ("objective.beta=0.1", "as in `objective.dpo.beta=0.1`"),
        ("objective=[dpo]", "recipe.objective: expected a name, or"),
        ("objective={dpo: {}, ipo: {}}", "recipe.objective: expected one name, got 2: dpo, ipo."),
        ("objective={dpo: 3}", "recipe.objective.dpo: expected `key: value` lines, got 3."),
        ("train.seed", "command line: expected `key=value`, got 'train.seed'."),
        ("train..seed=1", "command line: expected `key=value`"),
        ("reference.path=x", "recipe.reference: expected str, got {'path': 'x'}."),
        ("name.x=1", "recipe.name: expected str"),
        ("train.seed=[1", "command line: train.seed:1: not valid YAML"),
    ],
)
def test_an_error_names_the_key_and_what_to_write(override, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(PLAIN, [override])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian: {}", r"recipe: no key 'trian'. Did you mean 'train'\? \(bad.yaml:4\)"),
        ("train: {batch_size: 8.5}", r"recipe.train.batch_size: .* got 8.5. \(bad.yaml:4\)"),
        ("train:\n  sed: 1", r"Did you mean 'seed'\? \(bad.yaml:5\)"),
        ("model: {path: x}", r"bad.yaml:4: the key 'model' is given twice"),
    ],
)
def test_an_error_names_file_and_line(tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(f"model: m\ndata: d\nobjective: dpo\n{line}\n")
    with pytest.raises(RecipeError, match=message):
        load_recipe("bad.yaml")


@pytest.mark.parametrize("key", ["model", "data", "objective"])
def test_a_missing_key_is_named(key):
    with pytest.raises(RecipeError, match=f"recipe: '{key}' is required"):
        load_recipe({k: v for k, v in PLAIN.items() if k != key})
    with pytest.raises(RecipeError, match="recipe.model: 'path' is required"):
        load_recipe(PLAIN | {"model": {"kind": "policy"}})


@pytest.mark.parametrize("text", ["", "- a", "just text", "3"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match="expected `key: value` lines"):
        load_recipe(tmp_path / "r.yaml")


def test_the_recipe_and_the_trainer_agree_on_every_setting_and_default():
    elsewhere = ("report_to", "strategy", "deterministic")  # of the run around the trainer
    in_recipe = {k: v for k, v in Train().model_dump().items() if k not in elsewhere}
    in_trainer = {f.name: getattr(TrainSettings(), f.name) for f in fields(TrainSettings)}
    assert in_recipe == in_trainer


def test_reading_a_recipe_imports_no_torch():
    code = (
        "import sys; from luce.recipe.load import read_recipe; "
        "read_recipe({'model': 'm', 'data': 'd', 'objective': 'dpo'}); "
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
