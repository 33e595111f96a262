"""Which space and which architectures a latency command means, from what was typed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.settings.search import SearchConfig
from search_spaces import catalogue
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.errors import SpaceError
from search_spaces.fusions import operator
from search_spaces.networks import InputSpec
from search_spaces.space import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS, SearchSpace
from trials.errors import LatencyError

if TYPE_CHECKING:
    from reports import RunView


@dataclass(frozen=True)
class Named:
    """An architecture and what to call it in a table."""

    label: str
    architecture: Architecture


@dataclass(frozen=True)
class SpaceOptions:
    """What was typed about the space: None for what was not."""

    space: str | None = None
    size: str | None = None
    channels: int | None = None
    classes: int | None = None
    operators: Sequence[str] | None = None
    reductions: Sequence[int] | None = None
    points: Sequence[str] | None = None
    tie: str | None = None

    @property
    def restricting(self) -> list[str]:
        """The options that were given beside --space."""
        names = ("size", "channels", "classes", "operators", "reductions", "points", "tie")
        return [f"--{name}" for name in names if getattr(self, name) is not None]


def make_space(options: SpaceOptions) -> SearchSpace:
    """The named space under the options, or exactly the one that a JSON file holds.

    Raises SpaceError when it does not exist or an option does not fit.
    """
    name = options.space or str(SearchConfig.model_fields["space"].default)
    if name.endswith(".json"):
        if options.restricting:
            raise SpaceError(f"{name} says all of its space: leave out {', '.join(options.restricting)}")
        data = _read_json(Path(name))
        return SearchSpace.from_json(data.get("space", data) if isinstance(data, dict) else {})
    spec = _input_of(name, options)
    tie: Any = options.tie or "none"
    ratios = DEFAULT_REDUCTIONS if options.reductions is None else options.reductions
    operators = DEFAULT_OPERATORS if options.operators is None else options.operators
    return SearchSpace.named(name, spec, operators, ratios, options.points or (), tie)


def _input_of(name: str, options: SpaceOptions) -> InputSpec:
    """The network's own input, but for what was typed."""
    default = catalogue.design(name).default_input
    missing = [f"--{part}" for part in ("size", "channels", "classes") if getattr(options, part) is None]
    if default is None and missing:
        raise SpaceError(f"{name} does not say what images it is for: give {', '.join(missing)}")
    own = default or InputSpec(1, 1, 1)
    return InputSpec(
        _positive("--channels", options.channels, own.channels),
        own.size if options.size is None else square_size(options.size),
        _positive("--classes", options.classes, own.classes),
    )


def square_size(text: str) -> int:
    """`"224"` or `"224x224"` -> 224. Raises SpaceError for anything else: the networks are made for squares."""
    height, by, width = text.lower().partition("x")
    width = width if by else height
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) <= 8192 and 0 < int(width) <= 8192):
        raise SpaceError(f"--size: given {text!r}; expected pixels, such as 224 or 224x224")
    if int(height) != int(width):
        raise SpaceError(
            f"--size: given {text!r}; the named networks take square images only: give {height} or {width}"
        )
    return int(height)


def select(
    space_options: SpaceOptions, references: Sequence[str], sample: int | None, seed: int
) -> tuple[SearchSpace, list[Named]]:
    """The space and the architectures to measure in it; without any named or sampled, every uniform one.

    A reference is an operator everywhere (`aff` or `aff/4`), a JSON file of one architecture or several, or
    RUN:TRIAL (a number or selector) or RUN:front. References to a run bring its space.

    Raises:
        SpaceError, LatencyError: something named does not exist, or architectures of two spaces are mixed.
        StoreError, SelectionError, NothingFeasible: the run or the trial is not to be had.
    """
    if sample is not None and sample < 1:
        raise LatencyError(f"--sample: given {sample}; expected a whole number above 0")
    runs = {reference: _run_reference(reference) for reference in references}
    space = _space_of(list(dict.fromkeys(run[0] for run in runs.values() if run is not None)), space_options)
    named: list[Named] = []
    for reference, run in runs.items():
        named += list(_of_run(*run)) if run is not None else list(_of_text(space, reference))
    rng = random.Random(seed)
    named += [Named(f"random {index + 1}", space.sample(rng)) for index in range(sample or 0)]
    if not references and sample is None:
        named = [Named(op, space.uniform(op)) for op in space.operators if _offered(space, op)]
    return space, [Named(one.label, space.architecture(one.architecture.choices)) for one in named]


def _space_of(runs: Sequence[Path], options: SpaceOptions) -> SearchSpace:
    if not runs:
        return make_space(options)
    if options.space is not None or options.restricting:
        raise LatencyError(f"{runs[0]} brings its own space: leave out --space and what restricts it")
    spaces = [SearchSpace.from_json(_load(run).description["space"]) for run in runs]
    if len({space.fingerprint for space in spaces}) > 1:
        raise LatencyError(f"{runs[0]} and {runs[-1]} are of different spaces: measure them one after the other")
    return spaces[0]


def _run_reference(reference: str) -> tuple[Path, str] | None:
    """`(RUN, TRIAL)` of `RUN:TRIAL`; None for another kind of reference."""
    folder, colon, selector = reference.rpartition(":")
    return (Path(folder), selector) if colon and folder else None


def _load(run: Path) -> RunView:
    from reports import RunView  # with the record's database, which a device that only measures need not have

    return RunView.load(run).estimated()


def _of_run(run: Path, selector: str) -> Iterator[Named]:
    view = _load(run)
    for trial in view.front if selector == "front" else [view.select(selector)]:
        yield Named(f"{run.name}:{trial.result.number}", trial.result.architecture)


def _of_text(space: SearchSpace, reference: str) -> Iterator[Named]:
    if reference.endswith(".json"):
        data = _read_json(Path(reference))
        several = data if isinstance(data, list) else [data]
        for index, one in enumerate(several, 1):
            architecture = Architecture.from_json(one)
            if architecture.space != space.name:
                raise SpaceError(f"{reference}: architecture of {architecture.space}, given --space {space.name}")
            yield Named(f"{Path(reference).stem}{f' {index}' if len(several) > 1 else ''}", architecture)
        return
    choice = FusionChoice.parse(reference)
    operator(choice.op)
    yield Named(reference, space.uniform(choice.op, choice.reduction))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"{path}: cannot be read ({error.strerror}); give a JSON file") from None
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"{path}: not JSON: {' '.join(str(error).split())[:120]}") from None


def _offered(space: SearchSpace, op: str) -> bool:
    return any(choice.op == op for point in space.points for choice in point.choices)


def _positive(option: str, value: int | None, default: int) -> int:
    if value is not None and value < 1:
        raise SpaceError(f"{option}: given {value}; expected a whole number above 0")
    return default if value is None else value
