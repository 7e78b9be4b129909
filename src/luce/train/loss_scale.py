"""Loss scaling: float16 holds nothing below 6e-8, so the cost is scaled up for the backward pass.

The gradient is divided by the same number afterwards (Micikevicius et al., 2018, section 3.2). The
scale is as large as the gradients allow: halved where one overflows, doubled after a while without.
The step that overflowed is made again at the new scale, so no row is passed over.
"""

from collections.abc import Mapping
from typing import Any

FIRST = 2.0**16
"""The scale of the first step."""

FLOOR = 1.0
"""What overflows at this scale overflows by itself."""

PATIENCE = 2000
"""Steps in a row without an overflow after which the scale is doubled."""


class LossScale:
    """The scale, and how many steps it has held.

    Attributes:
        scale: what the cost is multiplied by, a power of two.

    >>> scale = LossScale()
    >>> scale.halve(), scale.scale
    (True, 32768.0)
    """

    def __init__(self, scale: float = FIRST) -> None:
        self.scale = scale
        self._held = 0

    def halve(self) -> bool:
        """Halve the scale, for a gradient overflowed; False where it is at its floor."""
        if self.scale <= FLOOR:
            return False
        self.scale, self._held = self.scale / 2, 0
        return True

    def hold(self) -> None:
        """A step was taken at this scale."""
        self._held += 1
        if self._held == PATIENCE:
            self.scale, self._held = self.scale * 2, 0

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"scale": self.scale, "held": self._held}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self.scale, self._held = float(state["scale"]), int(state["held"])
