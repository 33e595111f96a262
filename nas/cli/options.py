"""The options of `nas search`, which its dry run and its noise share, and the configuration that they give.

Only click is imported at start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nas.settings.search import SearchConfig

Command = Callable[..., Any]


#: Option, kind, placeholder, help.
Setting = tuple[str, type, str, str]


def options(settings: Sequence[Setting]) -> Callable[[Command], Command]:
    """A decorator that gives a command these options, None where one is not given."""

    def decorate(command: Command) -> Command:
        for option, kind, metavar, text in reversed(settings):
            command = click.option(option, type=kind, metavar=metavar, help=text)(command)
        return command

    return decorate


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(command)


OBJECTIVES_HELP = "accuracy, ap or miou, and any of macs, latency_ms, params or other figures of the task."

#: What `nas search` and `nas check` both take. Not given, the file's value holds.
_SETTINGS: list[Setting] = [
    ("--task", str, "NAME", "classification, detection or segmentation.  [default: that of the space or the data]"),
    ("--space", str, "NAME", "A named space, see nas spaces, or FILE.py:DESIGN.  [default: resnet8]"),
    ("--operators", str, "A,B,…", "Offer only these fusion operators; add must be among them."),
    ("--reductions", str, "R,R,…", "Offer only these reduction ratios.  [default: 4,8,16]"),
    ("--points", str, "P,P,…", "Vary only these fusion points or stages (layer3,layer4); the others stay add."),
    ("--tie", str, "HOW", "stage: one common choice for the points of a stage.  [default: none]"),
    (
        "--data",
        str,
        "NAME",
        "fashion-mnist-mini, fashion-mnist, cifar10, cifar100 or folder:PATH; of scenes scenes-mini, coco:PATH, "
        "voc:PATH or masks:PATH.  [default: the first]",
    ),
    ("--data-dir", str, "DIR", "Where datasets are looked for, and put when downloaded."),
    ("--image-size", int, "PIXELS", "Resize images of a folder to this square, scenes to its inside."),
    ("--train-images", int, "N", "Train on a subset of N images, class-balanced where they have classes."),
    (
        "--data-errors",
        str,
        "HOW",
        "refuse or drop (and count) bad images and annotations.  [default: refuse]",
    ),
    ("--empty-images", str, "HOW", "keep, refuse or drop scenes without an object.  [default: keep]"),
    ("--trials", int, "N", "Train N architectures.  [default: 20]"),
    ("--epochs", int, "E", "Epochs a trial, a complete schedule.  [default: 3; scenes 4]"),
    (
        "--regime",
        str,
        "NAME",
        "What trials start from: scratch, inherit, supernet.  [default: inherit; scenes scratch]",
    ),
    ("--parent", str, "FILE", "Under inherit: your own weights of the network, .safetensors or .pt."),
    ("--parent-epochs", int, "E", "Epochs of the parent or supernet.  [default: 4 times a trial's]"),
    ("--batch-size", int, "B", "Images a training step.  [default: 128; scenes 16]"),
    ("--precision", str, "NAME", "Train in float32, bfloat16 or the fastest, which is measured.  [default: auto]"),
    ("--trial-timeout", str, "TIME", "End a trial that takes longer, as failed: 90s, 10min, 2h.  [default: never]"),
    ("--max-flops", str, "BUDGET", "Multiply-adds: 40M, 1.2G, or 1.5x of the all-add baseline."),
    ("--max-params", str, "BUDGET", "Parameters: 0.5M, or 1.1x."),
    ("--max-latency", str, "BUDGET", "p50 latency: 3ms, or 1.05x."),
    ("--latency-profile", str, "FILE", "Latency is that of the device that nas latency profile measured."),
    ("--min", str, "F=V,…", "Of figures of quality, the least: accuracy=0.9, or ap=0.2,ap_small=0.1."),
    ("--objectives", str, "A,B,…", OBJECTIVES_HELP + "  [default: the first and macs]"),
    ("--sampler", str, "NAME", "tpe or random.  [default: tpe]"),
    ("--engine", str, "NAME", "ray (trials side by side) or local (in this process).  [default: ray]"),
    ("--workers", int, "W", "Trials side by side.  [default: as many as fit]"),
    ("--gpus-per-trial", float, "G", "GPUs of a trial; 0.25 puts four on one card.  [default: 1 where there are any]"),
    ("--address", str, "ADDRESS", "An existing Ray cluster: auto or ray://HOST:PORT."),
    ("--device", str, "DEVICE", "auto, cpu, cuda or cuda:N.  [default: auto]"),
    ("--noise-seeds", int, "K", "Measure the noise of scores with K seeds, 1 for not.  [default: 3 from 10 trials on]"),
    ("--seed", int, "S", "Seed of everything random.  [default: 0]"),
]


def search_options(command: Command) -> Command:
    return click.argument("config", required=False, type=click.Path(path_type=Path))(options(_SETTINGS)(command))


_SECTIONS = {"min": "minimum", "address": "ray.address", "gpus_per_trial": "ray.gpus_per_trial"} | {
    name: f"training.{name}"
    for name in ("epochs", "regime", "parent", "parent_epochs", "batch_size", "precision", "trial_timeout")
}


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """What was given of `search_options`, as keys and values of a configuration."""
    from nas.settings.sections import ConfigError

    settings: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in ("operators", "objectives", "reductions", "points"):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if name == "reductions":
            try:
                value = [int(part) for part in value]
            except ValueError:
                raise ConfigError(
                    f"--reductions: given {','.join(value)!r}; expected whole numbers such as 4,8,16"
                ) from None
        if name == "min":
            value = minimums(value)
        settings[_SECTIONS.get(name, name)] = value
    return settings


def configuration(config: Path | None, given: dict[str, Any]) -> SearchConfig:
    """The file's settings, overridden by the options that were given. Raises ConfigError."""
    from nas.settings.search import load_config

    return load_config(config, settings_of(given))


def minimums(text: str) -> dict[str, float]:
    """`ap=0.2,ap_small=0.1` by figure, `none` as nothing. Raises ConfigError for anything else."""
    from nas.settings.sections import ConfigError

    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()] if text != "none" else []
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise ConfigError(f"--min: given {text!r}; expected figures and numbers such as ap=0.2,ap_small=0.1") from None


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """`1,3` as numbers. Raises ConfigError for anything else."""
    from nas.settings.sections import ConfigError

    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"{option}: given {text!r}; expected whole numbers such as 1,3") from None


def seconds(option: str, text: str) -> float:
    """`90min` in seconds. Raises ConfigError for what is no time."""
    from nas.settings.durations import parse_seconds
    from nas.settings.sections import ConfigError

    try:
        return parse_seconds(text)
    except ValueError as error:
        raise ConfigError(f"{option}: given {text!r}; {error}") from None
