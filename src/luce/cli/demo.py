"""`luce demo`."""

from pathlib import Path


def demo(*, output_dir: Path = Path("runs/demo"), seed: int = 0, quick: bool = False) -> None:
    """Build a tiny model, train it on preferences of a built-in world, and report what happened.

    Parameters
    ----------
    output_dir
        An empty or new folder: the world's data, both runs and their reports go there.
    seed
        Of the world, the model and the training.
    quick
        Fewer rows and steps: shows that everything works, not how well.
    """
    from luce.recipe.demo import run_demo

    run_demo(output_dir, seed, quick)
