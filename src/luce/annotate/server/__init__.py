"""The page on which people give preferences: store, server, results, and people as an annotator.

Serving needs the packages of `luce[ui]`; the store and everything read from it do not.
"""

from luce.annotate.database import StoreError
from luce.annotate.server.giving import Shown
from luce.annotate.server.people import People
from luce.annotate.server.records import Record, records
from luce.annotate.server.results import Person, Results, results
from luce.annotate.server.store import Conflict, NotThere, Progress, Saved, Store
from luce.annotate.server.tasks import Settings, Task, Verdict, order_shown

__all__ = [
    "Conflict",
    "NotThere",
    "People",
    "Person",
    "Progress",
    "Record",
    "Results",
    "Saved",
    "Settings",
    "Shown",
    "Store",
    "StoreError",
    "Task",
    "Verdict",
    "order_shown",
    "records",
    "results",
]
