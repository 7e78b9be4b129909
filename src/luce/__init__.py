"""Preference learning for language models: judgements in, an aligned model and an account out.

    import luce
    run = luce.train(model="models/tiny", data="pairs.jsonl", objective=luce.dpo(beta=0.1))

Names load on first use, so that `import luce` is quick and imports no torch.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from luce.errors import LuceError, did_you_mean

if TYPE_CHECKING:
    from luce.annotate.judge.annotator import judge, jury
    from luce.annotate.scorers import policy_scorer, reward_scorer
    from luce.objectives.losses import LOSSES
    from luce.objectives.objective import Objective
    from luce.objectives.presets import OBJECTIVES
    from luce.recipe.load import load_recipe
    from luce.recipe.online_python import online_python as online
    from luce.recipe.run import train_python as train
    from luce.report import load_run

__version__ = "0.1.0"

_HOMES = {
    "LOSSES": "luce.objectives.losses",
    "OBJECTIVES": "luce.objectives.presets",
    "Objective": "luce.objectives.objective",
    "REGULARIZERS": "luce.objectives.regularizers",
    "SCORES": "luce.objectives.scores",
    "judge": "luce.annotate.judge.annotator",
    "jury": "luce.annotate.judge.annotator",
    "load_recipe": "luce.recipe.load",
    "load_run": "luce.report",
    "policy_scorer": "luce.annotate.scorers",
    "reward_scorer": "luce.annotate.scorers",
}
"""Public name → the module that holds it."""

_TABLES = (("luce.objectives.presets", "OBJECTIVES"), ("luce.objectives.scores", "SCORES"))
"""Tables whose entries are public by their own name: `luce.dpo`, `luce.mean_log_ratio`."""

_ROOMS = (
    "annotate",
    "cli",
    "data",
    "diagnostics",
    "evaluate",
    "models",
    "objectives",
    "recipe",
    "report",
)

__all__ = [
    "LOSSES",
    "OBJECTIVES",
    "LuceError",
    "Objective",
    "judge",
    "jury",
    "load_recipe",
    "load_run",
    "online",
    "policy_scorer",
    "reward_scorer",
    "train",
]


class _Train(ModuleType):
    """The package `luce.train`, which is also the verb: `luce.train(model=…, data=…)`."""

    def __call__(self, **keywords: Any) -> Any:
        """The finished run of these keywords; see `luce.recipe.run.train_python`."""
        from luce.recipe.run import train_python

        return train_python(**keywords)


class _Online(ModuleType):
    """The package `luce.online`, which is also the verb: `luce.online(model=…, prompts=…)`."""

    def __call__(self, **keywords: Any) -> Any:
        """The folder of a finished online run; see `luce.recipe.online_python.online_python`."""
        from luce.recipe.online_python import online_python

        return online_python(**keywords)


importlib.import_module("luce.train").__class__ = _Train
importlib.import_module("luce.online").__class__ = _Online


def _entries() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module, table in _TABLES:
        found |= getattr(importlib.import_module(module), table)
    return found


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"luce.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name.startswith("_"):
        raise AttributeError(f"luce has no {name!r}.")
    entries = _entries()
    if name in entries:
        return entries[name]
    known = [*_HOMES, *entries, "online", "train"]
    raise AttributeError(f"luce has no {name!r}. {did_you_mean(name, known)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS, *_entries()})
