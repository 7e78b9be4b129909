"""`luce`, with a note of every row that enters a gradient: `python soak_noted.py train …`.

The command is luce's own. Only `Trainer._one_step` is wrapped: the rows whose costs it collates go
to the file that SOAK_ROWS names, a line for each step, after the step and before anything is saved.
So a step that is in a checkpoint has its line, and a step that was done again has two.
"""

import json
import os
import sys
from typing import Any

from luce.cli.main import main
from luce.train import trainer
from luce.train.trainer import Trainer


def note_rows(path: str) -> None:
    """Have every step of every trainer of this process noted in a file."""
    stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    collate, one_step = trainer.collate, Trainer._one_step
    rows: list[list[Any]] = []

    def noted_collate(responses: Any, groups: Any, *more: Any) -> Any:
        rows.extend([group.place.file, group.place.line] for group in groups)
        return collate(responses, groups, *more)

    def noted_step(self: Trainer, ahead: Any) -> dict[str, Any]:
        rows.clear()
        record = one_step(self, ahead)
        line = {"pid": os.getpid(), "step": record["step"], "of": self.total_steps, "rows": rows}
        os.write(stream, (json.dumps(line) + "\n").encode())  # one write: whole or absent
        rows.clear()
        return record

    trainer.collate = noted_collate
    Trainer._one_step = noted_step


if __name__ == "__main__":
    note_rows(os.environ["SOAK_ROWS"])
    sys.argv[0] = "luce"
    main()
