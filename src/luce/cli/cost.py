"""`luce cost`."""

from typing import Annotated, Literal

from cyclopts import Parameter


def cost(
    rows: str,
    /,
    *,
    objective: str,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = (),
    running: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    grad: bool = False,
    dtype: Literal["float32", "float64"] = "float64",
    json: bool = False,
) -> None:
    """The cost and margin of each row of token log-probabilities: the function training calls.

    A row is `{"id", "chosen": {"policy": […], "reference": […]}, "rejected": {…}, "label"}`, or a
    judged `completion`, or a list of graded `responses`.

    Parameters
    ----------
    rows
        A jsonl file; of a cost of the whole batch it is the batch.
    objective
        A name of `luce list objectives`, or `module:name` of your own.
    set_
        A parameter of the objective, as `--set beta=0.1` or `--set weights=[0.8,0.2,1]`; may be
        repeated.
    running
        A running mean, as `--running kl=0.3`; may be repeated. Else it is that of the rows.
    grad
        Also the gradient with respect to each policy token log-probability.
    dtype
        Of the computation.
    json
        Print the rows as JSON.
    """
    from luce.cli.output import print_json, print_table
    from luce.cli.settings import parse_settings
    from luce.recipe.cost import run_cost

    means = parse_settings(running, "--running")
    results = run_cost(rows, objective, parse_settings(set_), grad, dtype, means)
    if json:
        print_json(results)
    else:
        print_table(results)
