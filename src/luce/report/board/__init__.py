"""The board: the runs in a folder as a read-only page, served on this machine.

Serving needs the packages of `luce[ui]`; the index of runs does not.
"""

from luce.report.board.folder import NotInside, inside, runs_in
from luce.report.board.index import Index

__all__ = ["Index", "NotInside", "inside", "runs_in"]
