"""Numbers as people read them, always with their unit; `n/a` for what was not measured."""

from __future__ import annotations

import math
from datetime import UTC, datetime

MISSING = "n/a"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
#: Up to here a space's size is written out; above it, its order of magnitude says more.
_WRITTEN_OUT = 10**7
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent: 0.123, 1.23, 12.3, 123, 1,234."""
    if value == 0:
        return "0"
    places = 2 - math.floor(math.log10(abs(value)))
    # Rounding may carry into the next power of ten: 9.996 is 10.0, not 10.00.
    if places > 0 and abs(round(value, places)) >= 10.0 ** (3 - places):
        places -= 1
    return f"{value:,.{min(max(places, 0), 6)}f}"


def format_count(value: float | None) -> str:
    """A count in three digits: `12.3M`, `456k`, `999`."""
    if value is None:
        return MISSING
    if float(value).is_integer() and abs(value) < 1000:
        return str(int(value))
    step, scaled = 0, float(value)
    while abs(scaled) >= 999.5 and step < len(_PREFIXES) - 1:
        step, scaled = step + 1, scaled / 1000
    return f"{_three_digits(scaled)}{_PREFIXES[step]}"


def format_bytes(count: int | None) -> str:
    """A number of bytes in three digits: `12.3MB`."""
    return f"{format_count(count)}B" if count is not None else MISSING


def capital(text: str) -> str:
    """With its first letter large, names such as mIoU left alone."""
    return text[:1].upper() + text[1:] if text.islower() else text


def format_ms(value: float | None) -> str:
    """Milliseconds in three digits: `0.123 ms`, `12.3 ms`, `1,234 ms`."""
    return MISSING if value is None else f"{_three_digits(value)} ms"


def format_percent(fraction: float | None, places: int = 2) -> str:
    """A fraction of 1 as a percentage: `0.9123` is `91.23%`."""
    return MISSING if fraction is None else f"{100 * fraction:.{places}f}%"


def format_points(difference: float | None) -> str:
    """A difference of two fractions in percentage points, always signed: `+0.42`, `−1.30`, `0.00`."""
    if difference is None:
        return MISSING
    text = f"{100 * abs(difference):.2f}"
    if float(text) == 0:
        return text
    return f"{'+' if difference > 0 else '−'}{text}"


def format_ratio(value: float | None) -> str:
    """A ratio to the baseline: `1.04×`."""
    return MISSING if value is None else f"{value:,.2f}×"


def format_duration(seconds: float | None) -> str:
    """A duration in its two largest units: `0.42 s`, `42 s`, `2 min 5 s`, `1 h 12 min`, `2 d 3 h`."""
    if seconds is None:
        return MISSING
    if seconds < 9.95:
        places = 2 if 0 < seconds < 1 else 1 if seconds else 0
        return f"{seconds:.{places}f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole >= 3600:
        # The smaller unit is rounded first, so that 59.9 minutes never reads "60 min".
        whole = round(seconds / 60) * 60 if whole < 86400 else round(seconds / 3600) * 3600
    for name, size, minor, minor_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // minor_size
            return f"{whole // size} {name} {rest} {minor}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def format_size(number: int | None) -> str:
    """The size of a search space: `2,197` in full, `~2.2e18` where only its magnitude matters."""
    if number is None:
        return MISSING
    if number < _WRITTEN_OUT:
        return f"{number:,}"
    # Not through float: a space may well be larger than the largest one.
    exponent = math.floor(math.log10(number))
    leading = 10 ** (math.log10(number) - exponent)
    if leading >= 9.95:
        exponent, leading = exponent + 1, 1.0
    return f"~{leading:.1f}e{exponent}"


def format_power(number: int) -> str:
    """A number of architectures: `2,197` in full, `1.4·10¹⁰` where only its magnitude matters."""
    if number < _WRITTEN_OUT:
        return f"{number:,}"
    leading, _, exponent = format_size(number).lstrip("~").partition("e")
    return f"{leading}·10{exponent.translate(_RAISED)}"


def format_share(part: int, whole: int) -> str:
    """A part of a whole as a percentage: `0.8 %`, of a small one two digits: `0.0011 %`, `2.3e-17 %`.

    Only all is 100 %, and only nothing 0 %.
    """
    percent = 100 * part / whole
    if part in (0, whole):
        return f"{percent:.0f} %"
    return f"{min(percent, 99.9):.1f} %" if percent >= 0.095 else f"{percent:.2g} %"


def format_time(timestamp: float | None) -> str:
    """A moment in UTC, to the minute: `2026-01-31 08:15 UTC`."""
    if timestamp is None:
        return MISSING
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC"
