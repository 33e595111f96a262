"""Numbers as people read them."""

from __future__ import annotations

import pytest

from reports import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (7, "7"), (999, "999"), (1000, "1.00k"), (456_000, "456k"), (999_600, "1.00M"), (9_996, "10.0k"),
        (12_345_678, "12.3M"), (1.5e12, "1.50T"), (0.5, "0.500"), (None, "n/a"),
    ],
)  # fmt: skip
def test_counts_have_three_digits_and_never_read_1000k(value: float | None, text: str) -> None:
    assert formatting.format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "0.0123 ms"), (0.1234, "0.123 ms"), (9.996, "10.0 ms"), (12.34, "12.3 ms"), (99.96, "100 ms"),
        (1234.4, "1,234 ms"), (0, "0 ms"), (None, "n/a"),
    ],
)  # fmt: skip
def test_latencies_carry_their_unit(value: float | None, text: str) -> None:
    assert formatting.format_ms(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.42, "0.42 s"), (4.23, "4.2 s"), (9.97, "10 s"), (42, "42 s"), (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3599.7, "1 h"), (4320, "1 h 12 min"), (86_399, "1 d"), (183_600, "2 d 3 h"), (None, "n/a"),
    ],
)  # fmt: skip
def test_durations_never_read_60_of_a_unit(seconds: float | None, text: str) -> None:
    assert formatting.format_duration(seconds) == text


def test_accuracy_is_a_percentage_and_its_difference_is_signed() -> None:
    assert formatting.format_percent(0.91234) == "91.23%"
    assert formatting.format_points(0.0042) == "+0.42"
    assert formatting.format_points(-0.013) == "−1.30"
    assert formatting.format_points(-0.00001) == "0.00"
    assert formatting.format_percent(None) == formatting.format_points(None) == formatting.format_ratio(None) == "n/a"
    assert formatting.format_ratio(1.044) == "1.04×"


@pytest.mark.parametrize(
    ("size", "text"),
    [(2197, "2,197"), (14**27, "~8.8e30"), (9999 * 10**4000, "~1.0e4004"), (None, "n/a")],
)
def test_sizes_beyond_a_float_are_still_written(size: int | None, text: str) -> None:
    assert formatting.format_size(size) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(840, "840"), (9_999_999, "9,999,999"), (14_000_000_000, "1.4·10¹⁰"), (14**27, "8.8·10³⁰")],
)
def test_large_numbers_have_powers_of_ten(number: int, text: str) -> None:
    assert formatting.format_power(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (8, 1000, "0.8 %"), (0, 7, "0 %"), (7, 7, "100 %"), (10**9 - 1, 10**9, "99.9 %"), (11, 10**6, "0.0011 %"),
        (1, 14**16, "4.6e-17 %"), (488, 840, "58.1 %"),
    ],
)  # fmt: skip
def test_only_all_is_100_percent_and_only_nothing_is_0(part: int, whole: int, text: str) -> None:
    assert formatting.format_share(part, whole) == text


def test_times_say_their_zone() -> None:
    assert formatting.format_time(0) == "1970-01-01 00:00 UTC"
    assert formatting.format_time(None) == "n/a"
