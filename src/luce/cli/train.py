"""`luce train`."""

from typing import Annotated

from cyclopts import Parameter


def train(
    recipe: str,
    /,
    *overrides: str,
    resume: bool = False,
    deterministic: bool = False,
    allow_change: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    dry_run: bool = False,
) -> None:
    """Train what a recipe says, and leave a run folder with the model and a report.

    A relative path in a recipe is relative to the current folder.

    Parameters
    ----------
    recipe
        A recipe file.
    overrides
        Keys to set, as `objective.dpo.beta=0.05 train.seed=1`; they win over the file.
    resume
        Go on from the last checkpoint of the run folder.
    deterministic
        The same as `train.deterministic=true`.
    allow_change
        A key that may differ from the run that is resumed, as `train.max_steps`; may be repeated.
    dry_run
        Print the resolved recipe, load model and rows, predict the memory, and stop.
    """
    from luce.recipe.run import train_command

    overrides += ("train.deterministic=true",) * deterministic
    train_command(recipe, overrides, resume, dry_run, allow_change)
