"""`luce sweep`."""

from pathlib import Path


def sweep(
    recipe: str,
    /,
    *keys: str,
    out: Path | None = None,
    workers: int = 1,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Train a recipe with several values of some keys, and set the results side by side.

    Every combination is a run in a folder of its own. The same command again goes on where it was
    interrupted: finished runs are kept. Runs that differ in `train.seed` alone are folded to mean ±
    standard deviation. Leaves sweep.json and sweep.html, with reward against KL. Exit code 1 where
    a run failed.

    Parameters
    ----------
    recipe
        A recipe file.
    keys
        What to vary, as `objective.dpo.beta=0.05,0.1 train.seed=0,1,2`; a key with one value holds
        for all runs, and a list in brackets is one value.
    out
        Where the runs go; else `<output_dir>-sweep` of the recipe.
    workers
        Runs at once; each is a process.
    dry_run
        Print the runs and how far each is, and stop.
    json
        Print sweep.json (or the plan) in place of the table.
    """
    import shlex
    import sys

    from luce.cli.output import print_json, say
    from luce.recipe.sweep import Sweep, train_command
    from luce.recipe.sweep_plan import plan_sweep
    from luce.report.sweep_page import sweep_json
    from luce.report.sweep_text import sweep_lines

    plan = plan_sweep(recipe, keys, out)
    if dry_run:
        told = {"new": "to run", "resume": "to go on with", "finished": "finished"}
        if json:
            print_json([{"name": r.name, "folder": str(r.folder), "state": r.state,
                         "values": r.values} for r in plan.runs])  # fmt: skip
            return 0
        for run in plan.runs:
            words = ["luce", *train_command(plan.recipe, run)[3:]]
            print(f"{told[run.state]}: {run.name}\n  {shlex.join(words)}")
        return 0
    command = ["luce", *sys.argv[1:]]
    runs = Sweep(plan, workers, command=command).carry_out()
    if json:
        print_json(sweep_json(recipe, runs, command))
    else:
        print(*sweep_lines(runs), sep="\n")
    say(f"page: {plan.folder / 'sweep.html'}")
    return int(any(run.status == "failed" for run in runs))
