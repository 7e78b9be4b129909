"""The public face: names load lazily, and `luce.train` is both a package and a verb."""

import subprocess
import sys

import pytest

import luce
from luce.objectives.presets import OBJECTIVES
from luce.objectives.scores import SCORES


def in_a_fresh_python(code: str) -> str:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_importing_luce_imports_nothing_heavy():
    code = (
        "import luce, sys; luce.__version__; luce.train; luce.LuceError; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'datasets', 'pydantic', 'rich') "
        "if m in sys.modules])"
    )
    assert in_a_fresh_python(code) == "[]"


@pytest.mark.parametrize("name", sorted({*OBJECTIVES, *SCORES}))
def test_every_preset_and_score_is_public_by_its_own_name(name):
    assert callable(getattr(luce, name))
    assert name in dir(luce)


def test_no_preset_shares_its_name_with_a_score_or_a_room():
    rooms = {"train", "data", "models", "report", "recipe", "objectives", "evaluate", "annotate"}
    assert not set(OBJECTIVES) & set(SCORES)
    assert not (set(OBJECTIVES) | set(SCORES)) & rooms


def test_every_listed_name_is_there():
    for name in luce.__all__:
        assert getattr(luce, name) is not None
    assert luce.Objective is not None and luce.LOSSES["savage"] and callable(luce.load_run)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="luce has no 'simop'. Did you mean 'simpo'?"):
        luce.__getattr__("simop")
    assert not hasattr(luce, "__wrapped__")


ORDERS = {
    "the package alone": "import luce",
    "a module of the room after": "import luce; import luce.train.settings",
    "a module of the room before": "import luce.train.settings; import luce",
    "from the package": "import luce; from luce import train; assert train is luce.train",
    "from the room": "from luce.train.settings import TrainSettings; import luce",
}


@pytest.mark.parametrize("order", list(ORDERS.values()), ids=list(ORDERS))
def test_train_is_a_verb_and_a_package_in_every_order_of_import(order):
    code = f"""
import sys, types
{order}
recorded = []
run = types.ModuleType("luce.recipe.run")
run.train_python = lambda **keywords: recorded.append(keywords) or "a run"
sys.modules["luce.recipe.run"] = run
assert luce.train(model="m", data="d", objective="dpo") == "a run"
assert recorded == [dict(model="m", data="d", objective="dpo")]
from luce.train.settings import TrainSettings
assert luce.train.settings.TrainSettings is TrainSettings
assert sys.modules["luce.train"] is luce.train
print("ok")
"""
    assert in_a_fresh_python(code) == "ok"


def test_a_room_is_reached_as_an_attribute():
    assert in_a_fresh_python("import luce; print(luce.errors.LuceError, luce.recipe.__name__)")


def test_python_dash_m_luce_is_luce():
    found = subprocess.run(
        [sys.executable, "-m", "luce", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == luce.__version__
