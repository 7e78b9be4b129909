"""Objectives of one's own, named by where they stand: `package.module:name`.

What the name stands for may be

    a function that returns an objective        its parameters are the recipe's
    a function that returns a `Score`           the same, under the logistic loss
    a function of a margin z                    φ, with Ω = beta · log π/π_ref; `beta` and the
                                                function's further parameters are the recipe's
    a `MarginLoss`                              the same
    a `Score`, or an objective                  as it is, without parameters

A function is one of a margin if its first parameter is called `z` or `margin`, or is annotated as a
tensor. An objective is anything with the members of `luce.types.CostFunction`.
"""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import torch
from torch import Tensor

from luce.errors import LuceError, RecipeError, did_you_mean
from luce.files import sha256_file
from luce.objectives import scores
from luce.objectives.check import number, positive
from luce.objectives.combine import WeightedSum
from luce.objectives.conformance import shape_problem
from luce.objectives.likelihood import Likelihood
from luce.objectives.losses import LOSSES, MarginLoss
from luce.objectives.mixture import Mixture
from luce.objectives.needs import NEEDS
from luce.objectives.objective import Objective
from luce.objectives.pointwise import Pointwise
from luce.objectives.ranking import ListObjective
from luce.objectives.sample import sample
from luce.objectives.score import Score
from luce.types import CostFunction, Scope, Structure

Maker = Callable[..., CostFunction]
OURS = (Objective, Pointwise, ListObjective, Mixture, WeightedSum, Likelihood)
BETA = inspect.Parameter("beta", inspect.Parameter.KEYWORD_ONLY, default=0.1, annotation=float)
MEMBERS = ("__call__", *sorted(name for name in vars(CostFunction) if not name.startswith("_")))
KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def is_own(name: str) -> bool:
    """Whether a name is that of an objective outside the table.

    >>> is_own("mine:loss"), is_own("dpo")
    (True, False)
    """
    return ":" in name


def own_objective(name: str) -> Maker:
    """The function that makes the objective out of its parameters; `inspect` shows them.

    The current folder is importable, as with `python -m`.

    Raises:
        RecipeError: there is no such module or name, or it stands for nothing that can be used.
            What is made is tried on a few random rows, so that this also tells of a cost function
            that raises, or gives no cost for each row. It may refuse rows with a LuceError.
    """
    target = _find(name)
    make, parameters = _maker(name, target)

    def build(**given: Any) -> CostFunction:
        for key, parameter in parameters.items():
            if parameter.default is parameter.empty and key not in given:
                raise RecipeError(
                    f"objective.{name}: no `{key}`, which has no default. Write "
                    f"`{{{name}: {{{key}: …}}}}`."
                )
        values = {key: p.default for key, p in parameters.items()} | given
        made = _guarded(name, lambda: make(**values))
        made = _as_objective(name, made)
        if isinstance(made, OURS):
            plain = {key: value for key, value in values.items() if _plain(value)}
            made = replace(made, name=name, parameters=plain)
        _guarded(name, lambda: _try_out(name, made))
        return made

    build.__name__, build.__doc__ = name, inspect.getdoc(target)
    vars(build)["__signature__"] = inspect.Signature(list(parameters.values()))
    return build


def _try_out(name: str, made: CostFunction) -> None:
    for dtype in (torch.float32, torch.float64):
        try:
            wrong = shape_problem(made, sample(made, dtype=dtype))
        except LuceError:  # rows of this kind are refused, which is its right
            return
        if wrong:
            raise RecipeError(f"objective.{name}: {wrong}")


def code_of(name: str) -> dict[str, str]:
    """`module`, `file` and `sha256` of the file in which an objective of one's own stands; {} for
    one of the table. Files that it imports are not looked at."""
    if not is_own(name):
        return {}
    module = _module(name.partition(":")[0])
    file = Path(module.__file__ or "")
    if not file.is_file():
        return {"module": module.__name__}
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return {"module": module.__name__, "file": str(shown), "sha256": sha256_file(file)}


def raised(name: str, error: BaseException) -> str:
    """What an objective of one's own raised, and at which line of it."""
    frames = traceback.extract_tb(error.__traceback__)
    module = sys.modules.get(name.partition(":")[0])
    file = getattr(module, "__file__", None)
    at = next((f for f in reversed(frames) if f.filename == file), frames[-1] if frames else None)
    where = f" ({Path(at.filename).name}:{at.lineno}, in {at.name})" if at else ""
    what = str(error).splitlines()[0] if str(error) else "no message"
    return f"objective.{name}: raised {type(error).__name__}: {what}{where}"


def _guarded(name: str, act: Callable[[], Any]) -> Any:
    try:
        return act()
    except LuceError as error:
        message = str(error)
        start = "" if message.startswith("objective") else f"objective.{name}: "
        raise RecipeError(f"{start}{message}") from error
    except Exception as error:
        raise RecipeError(raised(name, error)) from error


def _find(name: str) -> Any:
    path, _, attribute = name.partition(":")
    a_file = path.endswith(".py") or "/" in path
    if a_file or not all(part.isidentifier() for part in (*path.split("."), attribute)):
        parts = Path(path.removesuffix(".py")).parts
        dotted = ".".join(part for part in parts if part.isidentifier())
        hint = f" Did you mean '{dotted}:{attribute}'?" if a_file else ""
        raise RecipeError(
            f"objective: {name!r} is no `module:name`, as my_package.mine:loss is.{hint}"
        )
    module = _module(path)
    if attribute not in vars(module):
        known = [key for key in vars(module) if not key.startswith("_")]
        remedy = did_you_mean(attribute, known) if known else "It is empty."
        raise RecipeError(f"objective: {path} has no {attribute!r}. {remedy}")
    return vars(module)[attribute]


def _module(path: str) -> ModuleType:
    here = os.getcwd()
    importlib.invalidate_caches()
    sys.path.insert(0, here)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(f"{error.name}.")):
            raise RecipeError(
                f"objective: no module {error.name!r} in {here} or among the installed packages."
            ) from None
        raise RecipeError(f"objective: {path}: {error}; it is imported there.") from error
    except SyntaxError as error:
        at = f"{Path(error.filename or path).name}:{error.lineno}"
        raise RecipeError(f"objective: {path}: not valid Python: {error.msg} ({at}).") from None
    except Exception as error:
        message = raised(path, error).removeprefix("objective.")
        raise RecipeError(f"objective: importing {message}") from error
    finally:
        sys.path.remove(here)
        if here not in sys.path:  # for what it imports later
            sys.path.append(here)


def _maker(name: str, found: Any) -> tuple[Maker, Mapping[str, inspect.Parameter]]:
    """A function that makes the objective (or score), and its parameters."""
    target: Any = found  # whatever stands there: what it returns is looked at later
    if isinstance(found, Score):
        return lambda: _under_logistic(target), {}
    if isinstance(found, MarginLoss):
        return lambda beta: _under(name, target, beta), {"beta": BETA}
    if not inspect.isclass(found) and isinstance(found, CostFunction):
        return lambda: target, {}
    if not callable(found):
        raise RecipeError(
            f"objective.{name}: is a {type(found).__name__}. Expected a function that returns an "
            "objective or a score, a function of a margin, or a MarginLoss."
        )
    signature = _guarded(name, lambda: inspect.signature(target, eval_str=True))
    parameters = {
        key: p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for key, p in signature.parameters.items()
        if p.kind in KINDS
    }
    first = next(iter(signature.parameters.values()), None)
    if first is None or not _of_a_margin(first):
        return target, parameters
    parameters.pop(first.name, None)
    if "beta" in parameters:
        raise RecipeError(
            f"objective.{name}: its parameter `beta` is also that of the score, beta · log π/π_ref."
            " Give it another name."
        )

    def compose(beta: float, **given: Any) -> CostFunction:
        def phi(z: Tensor) -> Any:
            return target(z, **given)

        return _under(name, _margin_loss(name, phi, given), beta)

    return compose, {"beta": BETA} | parameters


def _of_a_margin(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    a_tensor = inspect.isclass(annotation) and issubclass(annotation, Tensor)
    jaxtyped = getattr(annotation, "array_type", None) is Tensor
    return parameter.name in ("z", "margin") or a_tensor or jaxtyped


def _under(name: str, loss: MarginLoss, beta: float) -> Objective:
    return Objective(scores.log_ratio(positive(f"{name}.beta", beta)), loss)


def _under_logistic(score: Score) -> Objective:
    return Objective(score, LOSSES["logistic"])


def _margin_loss(
    name: str, phi: Callable[[Tensor], Tensor], given: Mapping[str, Any]
) -> MarginLoss:
    """φ as a margin loss. Whether it is convex, and whether it still pushes at a large margin, is
    seen on [−30, 30]."""
    z = torch.linspace(-30, 30, 121, dtype=torch.float64, requires_grad=True)
    cost = phi(z)
    if not isinstance(cost, Tensor) or cost.shape != z.shape:
        found = f"shape {tuple(cost.shape)}" if isinstance(cost, Tensor) else type(cost).__name__
        raise RecipeError(
            f"objective.{name}: 121 margins cost {found}; a margin loss gives one cost for each."
        )
    if cost.dtype != z.dtype:
        raise RecipeError(f"objective.{name}: margins of {z.dtype} cost {cost.dtype}.")
    backwards = torch.cat([phi(z[40:].flip(0)), phi(z[:40].flip(0))])
    if not torch.allclose(backwards.flip(0), cost):
        raise RecipeError(f"objective.{name}: what a margin costs depends on the other margins.")
    (slope,) = torch.autograd.grad(cost.sum(), z, materialize_grads=True)
    values = cost.detach()
    bends = values[2:] - 2 * values[1:-1] + values[:-2]
    settings = [f"{key}={_shown(value)}" for key, value in given.items()]
    short = name.partition(":")[2]
    return MarginLoss(
        phi,
        lambda margin: f"{short}({', '.join([margin, *settings])})",
        convex=bool((bends >= -1e-9 * (1 + values.abs().max())).all()),
        tail="I" if slope[-1].item() < 0 else "II",
    )


def _shown(value: Any) -> str:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if real else str(value)


def _plain(value: Any) -> bool:
    """Whether a recipe can write it."""
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _as_objective(name: str, made: Any) -> CostFunction:
    if isinstance(made, Score):
        return _under_logistic(made)
    if not isinstance(made, CostFunction) or inspect.isclass(made):
        missing = [member for member in MEMBERS if not _has(made, member)]
        if len(missing) <= len(MEMBERS) // 2:
            raise RecipeError(
                f"objective.{name}: a {type(made).__name__} has no {_listed(missing)}, which an "
                "objective has (luce.types.CostFunction)."
            )
        hint = " Return Objective(score, loss) with it." if isinstance(made, MarginLoss) else ""
        raise RecipeError(
            f"objective.{name}: returned a {type(made).__name__}; expected an objective, such as "
            f"Objective(score, loss), or a Score.{hint}"
        )
    for what, found, known in (
        ("structure", made.structure, get_args(Structure)),
        ("scope", made.scope, get_args(Scope)),
        *(("needs", need, tuple(NEEDS)) for need in made.needs),
    ):
        if found not in known:
            raise RecipeError(
                f"objective.{name}.{what}: no {found!r}. {did_you_mean(found, known)}"
            )
    return made


def _has(made: Any, member: str) -> bool:
    try:
        getattr(made, member)
    except AttributeError:
        return False
    return True


def _listed(names: list[str]) -> str:
    return " and no ".join(f"`{name}`" for name in names)
