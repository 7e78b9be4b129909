"""`luce sample`."""

from typing import Literal


def sample(
    model: str,
    /,
    *prompt: str,
    prompts: str | None = None,
    n: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 128,
    render: Literal["chat", "plain"] = "chat",
    limit: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Responses of a model, prompted exactly as in training.

    Parameters
    ----------
    model
        A folder in HF format, a hub name, or the folder of a run.
    prompt
        Texts to answer.
    prompts
        A file of rows with a `prompt`, text or turns.
    n
        Responses to each prompt.
    temperature
        Of the sampling; 0 is greedy.
    top_p
        Sample from the smallest set of tokens that holds this probability.
    max_new_tokens
        A response is cut here.
    render
        chat template, or plain text.
    limit
        Read this many rows of the file only.
    seed
        Of the sampling.
    json
        Print the responses as JSON.
    """
    from luce.cli.output import print_json
    from luce.models.engine import SamplingSettings
    from luce.recipe.sample import sample as draw

    settings = SamplingSettings(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    rows = draw(
        model,
        prompt,
        source=prompts,
        n=n,
        settings=settings,
        render=render,
        limit=limit,
        seed=seed,
    )
    if json:
        print_json(rows)
        return
    for row in rows:
        text = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
        end = "" if row["ended"] else f" … (cut at {row['tokens']} tokens)"
        print(f"> {text}\n{row['response']}{end}\n")
