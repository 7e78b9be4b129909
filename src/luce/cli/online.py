"""`luce online`."""

from pathlib import Path


def online(
    recipe: Path,
    /,
    *overrides: str,
    resume: bool = False,
    deterministic: bool = False,
    dry_run: bool = False,
    worker: bool = False,
    allow_change: tuple[str, ...] = (),
) -> None:
    """Learn in rounds: sample from the policy, judge the samples, train on what was judged.

    Parameters
    ----------
    recipe
        A YAML file with an `online` section.
    overrides
        `key=value` settings that win over the file: `online.rounds=5 objective.dpo.beta=0.05`.
    resume
        Go on with the run in the recipe's output_dir, wherever it was stopped.
    deterministic
        The same as `train.deterministic=true`.
    dry_run
        Print the resolved recipe and what a round would sample, and stop.
    worker
        Help a run that another process leads: sample and judge blocks of its rounds until it is
        done. On any host that sees the run's folder.
    allow_change
        A recipe key that may differ from the run that is resumed; may be given again.
    """
    from luce.recipe.online_command import online_command

    overrides += ("train.deterministic=true",) * deterministic
    online_command(
        str(recipe),
        overrides,
        resume=resume,
        dry_run=dry_run,
        worker=worker,
        allow_change=allow_change,
    )
