"""The benchmark as a person reads it in a terminal: the table's datasheet, an answer, a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.bench.arena.compare import Line, Result, Setting
from nas.bench.arena.estimates import Estimate
from nas.bench.arena.page import ordinary_text, prospect_text
from nas.bench.operators import OperatorEffect
from nas.bench.table import Answer, Price, Table
from nas.terminal.studies import print_table
from reports.formatting import format_count, format_duration, format_percent
from reports.noise import counted

#: Lines that progress is told in where there is no terminal to draw a bar on.
_LINES = 5
#: Characters of the picture of mean ranks.
_WIDTH = 60


@contextmanager
def counting(console: Console, doing: str) -> Iterator[Callable[[int, int], None]]:
    """What is to be called with how many are done, and of how many."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and done % -(-total // _LINES) == 0:
                console.print(f"{doing}: {done} of {total}")

        yield told


def print_datasheet(console: Console, table: Table, effects: Sequence[OperatorEffect]) -> None:
    """What is in a table, its noise, how its looks rank, what operators are worth."""
    header = table.header
    sheet = header["datasheet"]
    data, versions = header["data"], header.get("versions", {})
    console.print(
        f"{table.name}: {counted(len(list(table.architectures())), 'architecture')} of {header['space']['name']}, "
        f"edition {header['edition']}; {data['train']:,} images to train, {data['val']:,} to validate, fingerprint "
        f"{data['fingerprint']}; {', '.join(f'{name} {value}' for name, value in versions.items())}",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
    rows = []
    for name, there in sheet["trainings"].items():
        for figure, noise in (sheet["noise"].get(name) or {"": None}).items():
            rows.append(_noise_row(name, there, figure, noise))
    console.print()
    columns = (
        "fidelity", "networks", "seeds", "a training", "figure", "architecture", "seed", "rest", "of it images", "ICC",
        "τ seeds",
    )  # fmt: skip
    print_table(console, columns, rows)
    console.print(
        "architecture, seed, rest: standard deviations between architectures (noise taken out), of what a seed does to "
        "all alike, and of what is left; of it images: due to single validation images that turn from seed to seed; in "
        "points of accuracy, or nats", highlight=False, markup=False,
    )  # fmt: skip
    for name, found in header["latencies"].items():
        there = found["architectures"].values()
        figures = [one["p50_ms"] for one in there]
        console.print(
            f"latency in {name}: {counted(len(figures), 'architecture')} on {found['device']['name']}, p50 "
            f"{min(figures):.3g} to {max(figures):.3g} ms, {sum(not one['stable'] for one in there)} unsteady",
            highlight=False, markup=False,
        )  # fmt: skip
    _print_looks(console, sheet["looks"])
    for which in ("truth", "tuned"):
        fidelity = header["fidelities"][which]
        _print_effects(console, fidelity, [effect for effect in effects if effect.fidelity == fidelity])


def _noise_row(name: str, there: Mapping[str, Any], figure: str, noise: Mapping[str, Any] | None) -> list[str]:
    first = [name, str(there["architectures"]), str(len(there["seeds"])), format_duration(there["train_seconds"])]
    if noise is None:
        return [*first, "n/a: one seed", *[""] * 6]
    digits = 2 if figure == "accuracy" else 4
    parts = [noise[part] for part in ("architecture", "seed", "interaction", "images")]
    told = ["" if value is None else f"{value:.{digits}f}" for value in parts]
    of = f"{figure} ({noise['architectures']} × {noise['seeds']})"
    return [*first, of, *told, _or_not(noise["icc"]), _or_not(noise["between_seeds"])]


def _or_not(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _rho(found: Mapping[str, float]) -> str:
    """With its interval, which tables of before have not."""
    told = f"{found['rho']:.2f}"
    return f"{told} ({found['low']:.2f} to {found['high']:.2f})" if "low" in found else told


def _print_looks(console: Console, looks: Mapping[str, Any]) -> None:
    rows = [
        [
            against,
            look,
            figure,
            _rho(found),
            f"{found['tau']:.2f}",
            str(found["architectures"]),
            str(found.get("seeds", "")),
        ]
        for against, there in looks.items()
        for look, figures in there.items()
        for figure, found in figures.items()
    ]
    console.print()
    if not rows:
        console.print("how looks rank is not known yet: too few architectures have the long schedules under two seeds")
        return
    print_table(console, ("held against", "one look", "by", "ρ", "τ", "networks", "seeds"), rows)
    console.print(
        "one look under one seed against the mean accuracy over seeds, the other seeds where both begin alike; means "
        "over the look's seeds; networks: of the seed that has most; ρ with its 95 % interval",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _print_effects(console: Console, fidelity: str, effects: Sequence[OperatorEffect]) -> None:
    console.print()
    if not effects:
        console.print(f"what operators are worth at {fidelity} is not known yet: too few architectures have it")
        return
    rows = [
        [e.point, e.operator, f"{e.points:+.2f}", f"{e.low:+.2f} to {e.high:+.2f}", str(e.architectures)]
        for e in sorted(effects, key=lambda e: (e.point, -e.points))
    ]
    print_table(console, ("point", "operator", "points above add", "95 % interval", "networks"), rows)
    console.print(f"accuracy at {fidelity}", highlight=False)


def answer_text(answer: Answer, price: Price) -> str:
    """One training, in a line."""
    latencies = "".join(f", {value:.3g} ms ({target})" for target, value in price.latency_ms.items())
    return (
        f"{','.join(answer.architecture.labels().values())} at {answer.fidelity}, seed {answer.seed}: "
        f"{format_percent(answer.accuracy)}, loss {answer.loss:.4f} on {answer.validation_images:,} images; "
        f"{format_duration(answer.train_seconds)}; {format_count(price.macs)} multiply-adds, "
        f"{format_count(price.params)} parameters{latencies}"
    )


_COLUMNS = (
    "method", "true gain", "spread", "regret", "volume", "by images", "by clock", "rank", "null", "known", "ordinary's",
    "wasted", "over", "not measured", "own time",
)  # fmt: skip
_LEGEND = (
    "true gain: points of accuracy of what it recommends above all-add; spread: its standard deviation over searches; "
    "regret: points below the best within the budget; volume: of the true figures of its front, of the best front's, "
    "at the end, and as a mean over the images and over the simulated clock; rank: mean, by true gain; null: searches "
    "that name a winner where all are equal; known: that find the planted one or its equal; ordinary's: the share of "
    "the images after which its volume is what optuna-search's is after all of them; wasted: images trained on "
    "what is over the budget or was trained before; over: recommendations over the budget, which count as all-add; not "
    "measured: looks that the table's model answered; own time: of this CPU, for a search. Intervals: 95 %."
)


def print_comparison(console: Console, found: Result) -> None:
    """A table for each setting, with a picture of the ranks that differ."""
    facts = found.table
    console.print(
        f"{facts['name']}, {facts['trainings']} trainings; {found.comparison.seeds} searches of each method in each "
        f"world; looks are {facts['look']}",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    for truth in found.truths:
        console.print(
            f"\nJudged by {truth.truth}, to which {truth.architectures} of {facts['size']} architectures were trained; "
            "the others are modelled",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
        for setting in found.comparison.settings:
            lines = sorted((line for line in truth.lines if line.setting == setting), key=lambda line: line.rank)
            console.print(f"\n{setting.name}", highlight=False)
            there = next(one for one in truth.prospects if one.setting == setting)
            console.print(prospect_text(there, found.comparison.look), highlight=False, markup=False, soft_wrap=True)
            print_table(console, _COLUMNS, [_row(line) for line in lines])
            _print_ranks(console, setting, lines, found.comparison.critical(setting))
    console.print(f"\n{_LEGEND}", highlight=False, markup=False)


def _row(line: Line) -> list[str]:
    return [
        line.method, _interval(line.gain, 2, "+"), _interval(line.spread, 2), f"{line.regret.value:.2f}",
        _interval(line.volume, 2), f"{line.anytime.value:.2f}", f"{line.against_time.value:.2f}", f"{line.rank:.1f}",
        _share(line.null), _share(line.known), ordinary_text(line)[0], f"{line.wasted.value:.0%}",
        f"{line.infeasible.value:.0%}", f"{line.modelled:.0%}", f"{line.own_seconds:.2g} s",
    ]  # fmt: skip


def _interval(found: Estimate, digits: int, sign: str = "") -> str:
    return f"{found.value:{sign}.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _share(found: Estimate) -> str:
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"


def _print_ranks(console: Console, setting: Setting, lines: Sequence[Line], critical: float) -> None:
    """Each method at its mean rank, with a bar as long as two must be apart to differ (Nemenyi, 5 %)."""
    best, worst = lines[0].rank, lines[-1].rank
    scale = _WIDTH / max(worst - best + critical, 1e-9)
    console.print(f"mean ranks; a bar is the critical difference, {critical:.2f}: methods whose bars begin within")
    console.print("another's differ by less than chance may make of so many searches")
    for line in lines:
        begin = round((line.rank - best) * scale)
        console.print(f"  {line.method:<20}{' ' * begin}{'━' * max(1, round(critical * scale))}", highlight=False)
