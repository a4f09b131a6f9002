"""How figures are written for people: few digits, a unit, and a dash where there is none."""

from __future__ import annotations

NONE = "–"


def error(value: float | None) -> str:
    """A small number with two digits: 1.2e-6."""
    if value is None:
        return NONE
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}e{int(exponent)}" if value else "0"


def milliseconds(value: float | None) -> str:
    """A time given in milliseconds, with three digits and the unit that suits it."""
    if value is None:
        return NONE
    for limit, factor, unit in ((0.0995, 1e3, "µs"), (999.5, 1.0, "ms")):
        if value < limit:
            return f"{_three_digits(value * factor)} {unit}"
    return f"{_three_digits(value / 1e3)} s"


def seconds(value: float | None) -> str:
    """A time given in seconds, as `milliseconds` writes it."""
    return milliseconds(None if value is None else value * 1e3)


def count(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return NONE if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A large count in three digits: 6.31 M."""
    if value is None:
        return NONE
    for limit, factor, unit in ((999.5, 1.0, ""), (999.5e3, 1e3, "k"), (999.5e6, 1e6, "M"), (999.5e9, 1e9, "G")):
        if abs(value) < limit:
            whole = not unit and value == int(value)
            return f"{value:.0f}" if whole else f"{_three_digits(value / factor)} {unit}".strip()
    return f"{_three_digits(value / 1e12)} T"


def megabytes(value: float | None) -> str:
    """A size in bytes, in MB of a million bytes."""
    return NONE if value is None else f"{value / 1e6:,.2f} MB"


def percent(value: float | None) -> str:
    """A part of one; whole percents where that is all there is to say."""
    if value is None:
        return NONE
    return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"


def growth(value: float | None) -> str:
    """A change relative to what was before, with its sign."""
    if value is None:
        return NONE
    text = f"{abs(value):.1%}".replace(".0%", "%")
    return text if text == "0%" else f"{'+' if value > 0 else '−'}{text}"


def decimal(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def many(amount: int, noun: str) -> str:
    """'1 file', '2 files'."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def _three_digits(value: float) -> str:
    decimals = sum(abs(value) < limit for limit in (99.95, 9.995, 0.9995))
    return f"{value:.{decimals}f}"
