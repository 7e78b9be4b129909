"""The nouns of the house: judged rows, tokenized groups, packed rows, and ragged responses.

Conventions, stated once. The first response of a judged pair is the chosen one. Log-probabilities
are float32 (float64 in `luce cost`) and in nats. Responses are ragged: their tokens lie back to
back, group after group, and are never padded above `luce.models`.
"""

from luce.types.batch import (
    Batch,
    Demonstrations,
    Lists,
    Pairs,
    PerGroup,
    Responses,
    Unpaired,
)
from luce.types.packed import (
    Branch,
    Group,
    Packed,
    Span,
)
from luce.types.protocols import (
    Annotator,
    BatchScorer,
    Comparison,
    CostFunction,
    Policy,
    Scorer,
)
from luce.types.rows import (
    Demonstration,
    Feedback,
    Message,
    Place,
    Preference,
    Ranking,
    Row,
    Scope,
    Structure,
    Text,
    TokenIds,
)

__all__ = [
    "Annotator",
    "BatchScorer",
    "Batch",
    "Branch",
    "Comparison",
    "CostFunction",
    "Demonstration",
    "Demonstrations",
    "Feedback",
    "Group",
    "Lists",
    "Message",
    "Packed",
    "Pairs",
    "PerGroup",
    "Place",
    "Policy",
    "Preference",
    "Ranking",
    "Responses",
    "Row",
    "Scope",
    "Scorer",
    "Span",
    "Structure",
    "Text",
    "TokenIds",
    "Unpaired",
]
