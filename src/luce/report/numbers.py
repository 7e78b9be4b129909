"""Numbers as people read them: percentages, intervals, counts; an unknown number is an en dash."""

import math
from typing import Any, TypeAlias

Number: TypeAlias = float | int

NBSP, MINUS, RANGE, NONE = "\u00a0", "\u2212", "\u2013", "\u2013"


def is_number(value: Any) -> bool:
    """True for a finite int or float; False for None, nan, infinities, bools and text."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """`digits` significant digits (a whole number only as many as it has), a true minus sign,
    powers of ten where they are shorter.

    >>> number(-0.0123456), number(1e-6), number(float("nan")), number(43.0), number(43)
    ('−0.0123', '1e−6', '–', '43.0', '43')
    """
    if not is_number(value):
        return NONE
    whole, value = isinstance(value, int), float(value)
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 < exponent < digits:
        text = f"{value:.{digits - 1 - exponent}f}"
        if whole and "." in text:
            text = text.rstrip("0").rstrip(".")
    elif digits <= exponent < 9:
        text = f"{value:,.0f}"
    else:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(power)}"
    return text.replace("-", MINUS)


def signed(value: Any, digits: int = 3) -> str:
    """A number with its sign always shown.

    >>> signed(1.5), signed(-2)
    ('+1.50', '−2')
    """
    text = number(value, digits)
    return f"+{text}" if is_number(value) and value > 0 else text


def percent(share: Any) -> str:
    """A share in [0, 1] as a percentage with one decimal.

    >>> percent(0.7149)
    '71.5\\xa0%'
    """
    if not is_number(share):
        return NONE
    return f"{100 * share:.1f}{NBSP}%".replace("-", MINUS)


def percent_range(low: Any, high: Any) -> str:
    """An interval of a share.

    >>> percent_range(0.65, 0.77)
    '65.0–77.0\\xa0%'
    """
    if not (is_number(low) and is_number(high)):
        return "interval unknown"
    return f"{100 * low:.1f}{RANGE}{100 * high:.1f}{NBSP}%"


def number_range(low: Any, high: Any) -> str:
    """An interval of a mean; negative ends are set off with "to".

    >>> number_range(1.0, 2.0), number_range(-1.0, 2.0)
    ('1.00–2.00', '−1.00 to 2.00')
    """
    if not (is_number(low) and is_number(high)):
        return "interval unknown"
    joint = f" to {number(high)}" if low < 0 else f"{RANGE}{number(high)}"
    return f"{number(low)}{joint}"


def count(value: Any) -> str:
    """A whole number with thousands separated.

    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return f"{int(value):,}" if is_number(value) else NONE


def counted(n: int | None, noun: str) -> str:
    """A count with its noun, plural where it must be.

    >>> counted(1, "row"), counted(2000, "row"), counted(None, "row")
    ('1 row', '2,000 rows', '– rows')
    """
    return f"{count(n)} {noun}" if n == 1 else f"{count(n)} {noun}s"
