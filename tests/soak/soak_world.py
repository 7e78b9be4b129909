"""A small new model as a folder, made in a process of its own: the driver stays small.

python soak_world.py FOLDER SEED
"""

import sys
from pathlib import Path

from luce.models.tiny import Shape, new_model_folder

TEXT = "the cat sat on a mat and saw the dog run to its red house by the sea, thanks; say 0 to 9."


def main(folder: str, seed: str) -> None:
    shape = Shape(hidden=32, layers=2, heads=2, max_positions=256)
    new_model_folder(Path(folder), [TEXT] * 3, vocab_size=290, shape=shape, seed=int(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
