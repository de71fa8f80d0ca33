"""Numbers as text, one way everywhere: with the true minus, without a negative zero, a dash where there is none.

A share is a fraction of 1; `percent` and `points` multiply it by 100. What belongs together does not break at the end
of a line.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

import pandas as pd

ABSENT = "–"
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
_DASH = "\N{WORD JOINER}–\N{WORD JOINER}"

Row: TypeAlias = Mapping[str, Any] | pd.Series


def is_absent(value: object) -> bool:
    """Whether there is no number: None, NaN or NA."""
    return value is None or bool(pd.isna(value))


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """`value` with that many decimals: "0.703", "−0.2".

    Args:
        value: a number; ABSENT stands for none.
        digits: decimals.
        signed: whether a number above zero gets a plus.
    """
    if value is None or is_absent(value):
        return ABSENT
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    # From the six digits of the published tables, as a reader rounds them; binary fractions turn 0.6665 into 0.666.
    exact = Decimal(f"{value:.6g}" if abs(value) < 1000 else repr(float(value)))
    rounded = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}{abs(rounded):,}"


def percent(value: float | None, digits: int = 0, *, signed: bool = False) -> str:
    """The share `value` as a percentage: "95 %"."""
    return ABSENT if value is None or is_absent(value) else f"{number(100 * value, digits, signed=signed)}{SPACE}%"


def points(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """The difference `value` of two shares in percentage points: "5.9 points", "1 point"."""
    if value is None or is_absent(value):
        return ABSENT
    text = number(100 * value, digits, signed=signed)
    return f"{text}{SPACE}{'point' if text.lstrip(f'+{MINUS}') == '1' else 'points'}"


def span(values: Sequence[float], write: Callable[..., str] = number, **form: Any) -> str:
    """From the least to the greatest of `values`, one text where they look alike: "8 to 12", "8".

    Args:
        values: numbers; absent ones are passed over.
        write: one of the functions above.
        form: of it.
    """
    known = [value for value in values if not is_absent(value)]
    if not known:
        return ABSENT
    first, last = (write(value, **form) for value in (min(known), max(known)))
    if first == last:
        return first
    # A unit is said once.
    stem, _, unit = first.rpartition(SPACE)
    return f"{stem if unit and last.endswith(SPACE + unit) else first} to {last}"


def interval(low: float | None, high: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """The ends of an interval: "0.716–0.758", and "−0.2 to 0.1", as a dash before a minus cannot be read.

    Empty without both ends, or where they look alike.
    """
    if is_absent(low) or is_absent(high):
        return ""
    ends = [number(end, digits, signed=signed) for end in (low, high)]
    if ends[0] == ends[1]:
        return ""
    to = f"{SPACE}to{SPACE}" if signed or any(MINUS in end for end in ends) else _DASH
    return to.join(ends)


def estimate(
    row: Row, name: str, digits: int | None = None, *, unit: str = "", signed: bool = False, ends: str | None = None
) -> str:
    """A value of a row of a table with its interval: "0.738 (0.716–0.758)", "65.0 % (61.2–68.9)".

    Args:
        row: with `name`, and the ends of its interval where there is one.
        name: of the value.
        digits: decimals; None: three, with a unit one.
        unit: "", "%" or "points", which both multiply by 100.
        signed: whether numbers above zero get a plus.
        ends: what stands before `low` and `high` in the names of the ends; None: `name` and a line.
    """
    value, prefix = row[name], f"{name}_" if ends is None else ends
    if is_absent(value):
        return ABSENT
    digits = (1 if unit else 3) if digits is None else digits
    write = {"": number, "%": percent, "points": points}[unit]
    scale = 100 if unit else 1
    low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
    low, high = (None if end is None or is_absent(end) else scale * end for end in (low, high))
    reach = interval(low, high, digits, signed=signed)
    text = write(value, digits, signed=signed)
    return f"{text}{SPACE}({reach})" if reach else text


def estimates(table: pd.DataFrame, name: str, digits: int | None = None, **form: Any) -> pd.Series:
    """`estimate` of every row of `table`, in its index."""
    return pd.Series(
        [estimate(row, name, digits, **form) for row in table.to_dict("records")], index=table.index, dtype=object
    )


def readable(table: pd.DataFrame, titles: Mapping[str, str], digits: int | None = None, **form: Any) -> pd.DataFrame:
    """The `estimates` of some columns of `table` under the titles that readers know."""
    return pd.DataFrame({title: estimates(table, name, digits, **form) for name, title in titles.items()})


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`count` and what is counted: "1 image", "2,000 images"."""
    return f"{count:,}{SPACE}{inflected(count, noun, nouns or f'{noun}s')}"


def inflected(count: int, one: str, more: str) -> str:
    """`one` of a single thing, else `more`: "is" or "are"."""
    return one if count == 1 else more


def part(count: int, total: int, noun: str, nouns: str = "") -> str:
    """How many of them, as the subject of a sentence: "3 of 7 classes", "all 7 classes", "no class", "the one class".

    The verb after it is that of one thing for fewer than two (see `verb`).
    """
    if not count:
        return f"no {noun}"
    if total == 1:
        return f"the one {noun}"
    nouns = nouns or f"{noun}s"
    return f"all {total:,} {nouns}" if count == total else f"{count:,} of {total:,} {nouns}"


def verb(count: int, one: str, more: str) -> str:
    """The verb after `part`: "differs" after "no class" and "1 of 7 classes", else "differ"."""
    return one if count < 2 else more


def listed(words: Sequence[str]) -> str:
    """`words` as in a sentence: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def capital(text: str) -> str:
    """`text` as the start of a sentence; all but its first letter stays."""
    return text[:1].upper() + text[1:]


def plain(text: str) -> str:
    """`text` with ordinary spaces and dashes, for files that are read as they are and for terminals."""
    return text.replace(SPACE, " ").replace(_DASH, "–")
