"""`luce check`."""


def check(recipe: str, /, *overrides: str, json: bool = False) -> int:
    """Read a recipe and its data, and show what would be trained, without training.

    Prints three rows with token ids, decoded tokens and what is scored, the rows that would be
    cut or dropped, and an estimate of the memory. Exit code 1 where a row breaks a rule.

    Parameters
    ----------
    recipe
        A recipe file.
    overrides
        Keys to set, as `train.seed=1`.
    json
        Print the findings as JSON.
    """
    from luce.recipe.check import check_command

    return check_command(recipe, list(overrides), json)
