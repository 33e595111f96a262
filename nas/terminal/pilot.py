"""What a pilot tells, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.bench.pilot.analysis import TELLS, Analysis, Look, by_way
from nas.terminal.studies import print_table
from reports.formatting import format_duration

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = (
    "look", "a training", "figure", "ICC", "architecture", "pair", "τ seeds", "images a pair", "ρ truth", "τ truth",
)  # fmt: skip
_FIGURE = {"accuracy": "accuracy", "loss": "loss", "tempered_loss": "tempered"}
_LEGEND = (
    "architecture: standard deviation between architectures, noise taken out; pair: that of the noise in the "
    "difference of two under one seed; in points of accuracy, or nats. images a pair: to train until the mean "
    "difference of a typical pair (the median) has the right sign with 95 %. ρ, τ truth: of one seed's ranks with "
    "the truth's mean accuracy. tempered: the loss after one temperature was fitted on the logits. ICC with a "
    "95 % interval."
)


def print_pilot(console: Console, header: Mapping[str, Any], found: Analysis) -> None:
    """Which look tells what, how the truth ranks, how far operators move."""
    console.print(
        f"{header.get('network', 'a pilot')}: {found.architectures} architectures, {found.seeds} seeds, paired by "
        f"seed; {header['train']:,} images to train, {header['val']:,} to validate, fingerprint {header['data']}",
        soft_wrap=True,
    )
    rows = [row for way, looks in by_way(found.looks) for row in _rows(way.name, looks, way == found.truth)]
    console.print()
    print_table(console, _COLUMNS, rows)
    console.print(_LEGEND)
    for way in found.waiting:
        console.print(f"{way.name}: too little was trained of it yet")
    _print_verdict(console, found)
    _print_moves(console, found)


def _rows(name: str, looks: list[Look], is_truth: bool) -> list[list[str]]:
    found = []
    for number, look in enumerate(looks):
        noise, digits = look.noise, 3 if look.figure == "accuracy" else 4
        first = [name, f"{look.images:,}, {format_duration(look.seconds)}"] if number == 0 else ["", ""]
        found.append(
            [
                *first, _FIGURE[look.figure],
                f"{noise.icc:.2f} ({look.icc_low:.2f} to {look.icc_high:.2f})", f"{noise.architecture:.{digits}f}",
                f"{look.pair:.{digits}f}", f"{noise.between_seeds:.2f}",
                "never" if look.pair_images is None else f"{look.pair_images:,}",
                *(["the truth", ""] if is_truth else [_or_not(look.rho), _or_not(look.tau)]),
            ]
        )  # fmt: skip
    return found


def _or_not(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _print_verdict(console: Console, found: Analysis) -> None:
    if found.truth is None:
        console.print("\nno schedule from new weights was trained yet: there is no truth to hold looks against")
        return
    tells = (
        "tells architectures apart" if found.tells else "does not tell architectures apart: train longer, or on more"
    )
    console.print(
        f"\naccuracy at {found.truth.name} {tells} (ICC and τ between seeds from {TELLS:g} on do)", soft_wrap=True
    )
    if found.best is not None:
        best = found.best
        console.print(
            f"of the looks that rank best, the cheapest is {best.way.name} by {_FIGURE[best.figure]}: "
            f"ρ {best.rho:.2f}, {best.images:,} images a training"
        )
    errors = [f"{','.join(one.choices)}  {one.accuracy:.2f} ± {one.error:.2f}" for one in found.long]
    console.print(f"\naccuracy at {found.truth.name}, mean ± standard error over seeds")
    for line in errors:
        console.print(f"  {line}")


def _print_moves(console: Console, found: Analysis) -> None:
    console.print()
    rows = [
        [move.way.name, move.operator, _or_not(move.weights), "n/a" if move.gates is None else f"{move.gates:.3f}"]
        for move in found.moves
    ]
    print_table(console, ("look", "operator", "weights", "gates"), rows)
    console.print(
        "weights: change of an operator's weights relative to where they began; gates: standard deviation of its "
        "attention weights over validation images; means over points and seeds"
    )
