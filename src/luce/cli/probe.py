"""`luce probe`."""

from pathlib import Path


def probe(
    recipe: str,
    /,
    *overrides: str,
    steps: int = 50,
    learning_rates: str | None = None,
    betas: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Try a recipe for a few steps at several learning rates and β, and say which to take.

    Data, model and reference are loaded once. Leaves probe.json and probe.html, and no model. Exit
    code 1 where no learning rate that was tried will do.

    Parameters
    ----------
    recipe
        A recipe file.
    overrides
        Keys to set, as `train.batch_size=16`; they win over the file.
    steps
        Of each run, at a constant learning rate after the recipe's warm-up.
    learning_rates
        To try, as 1e-6,3e-6; else the recipe's times 1/10, 1/3, 1, 3 and 10.
    betas
        To try at the learning rate that is recommended, as 0.05,0.1; else the recipe's, as above.
    out
        Where the page goes; else `<output_dir>-probe` of the recipe.
    json
        Print probe.json in place of the tables.
    """
    from luce.cli.output import print_json, say
    from luce.recipe.probe import parse_numbers, probe_lines
    from luce.recipe.probe import probe as carry_out

    found = carry_out(
        recipe,
        overrides,
        steps=steps,
        learning_rates=parse_numbers(learning_rates, "--learning-rates")
        if learning_rates
        else None,
        betas=parse_numbers(betas, "--betas") if betas else None,
        out=out,
    )
    if json:
        print_json(found.plain())
    else:
        print(*probe_lines(found), sep="\n")
    say(f"page: {found.folder / 'probe.html'}")
    return 0 if found.rate_advice.value is not None else 1
