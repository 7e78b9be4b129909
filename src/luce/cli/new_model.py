"""`luce new-model`."""

from pathlib import Path


def new_model(
    out: Path,
    /,
    *,
    corpus: str,
    field: str | None = None,
    vocab_size: int = 4096,
    hidden: int = 256,
    layers: int = 4,
    heads: int = 4,
    max_positions: int = 1024,
    chat_template: str = "none",
    limit: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """A byte-level tokenizer trained on a corpus, and a small Llama with random weights.

    The folder loads with plain transformers. The model knows nothing yet: train it first with
    `objective: sft`.

    Parameters
    ----------
    out
        The folder to write; it must not hold anything.
    corpus
        A file or folder of rows, such as `corpus.jsonl.gz`.
    field
        The column that holds the text; without it every text of a row is used.
    vocab_size
        Tokens, the 256 bytes and the special tokens included.
    hidden
        Width of the model.
    layers
        Transformer layers.
    heads
        Attention heads.
    max_positions
        The longest sequence, in tokens.
    chat_template
        none or chatml.
    limit
        Read this many rows only.
    seed
        Of the weights.
    json
        Print the result as JSON.
    """
    from luce.cli.output import print_json
    from luce.models.tiny import Shape
    from luce.recipe.new_model import create_model

    shape = Shape(hidden=hidden, layers=layers, heads=heads, max_positions=max_positions)
    made = create_model(
        out,
        corpus,
        vocab_size=vocab_size,
        shape=shape,
        template=chat_template,
        field=field,
        limit=limit,
        seed=seed,
    )
    if json:
        print_json(made)
    else:
        print(
            f"{made['path']}: {made['parameters']:,} parameters, {made['vocabulary']:,} tokens, "
            f"from {made['rows_read']:,} rows."
        )
