"""`luce logps`."""


def logps(recipe: str, /, *overrides: str, json: bool = False) -> None:
    """Compute the reference log-probabilities of a recipe's rows, for `luce train` to read.

    Parameters
    ----------
    recipe
        A recipe file.
    overrides
        Keys to set, as `train.seed=1`.
    json
        Print what was computed as JSON.
    """
    from rich.console import Console

    from luce.cli.output import print_json
    from luce.recipe.logps import build_cache

    made = build_cache(recipe, overrides, Console(stderr=True, highlight=False, soft_wrap=True))
    if json:
        print_json(made)
    else:
        print(f"{made['folder']}: {made['responses']:,} responses of {made['groups']:,} groups.")
