"""The commands of `nas latency`. Only click is imported at start."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from nas.cli.options import LIST, SettingOption, SettingsCommand, SettingsGroup, json_option, option_of
from nas.terminal.console import console, narrator

Command = Callable[..., Any]


def _of_settings() -> list[SettingOption]:
    """What is measured and how, as far as a search has a setting for it."""
    from nas.settings.search import SearchConfig

    space = str(SearchConfig.model_fields["space"].default)
    return [
        option_of(
            "space", option="--space", default=space,
            help="A named space, FILE.py:DESIGN, or FILE.json from nas check --json.",
        ),
        *(option_of(key, option=f"--{key}") for key in ("operators", "reductions", "points", "tie", "device")),
        option_of("latency.batch_size", option="--batch", metavar="B"),
        option_of("latency.passes", option="--passes", metavar="N"),
        option_of("latency.attempts", option="--attempts", metavar="N"),
    ]  # fmt: skip


def _measuring(command: Command) -> Command:
    """What all of them take beside that."""
    for option, kind, metavar, text in reversed(
        [
            ("--size", str, "HxW", "Height and width of the images, square.  [default: the network's own]"),
            ("--channels", int, "N", "Channels of the images.  [default: the network's own]"),
            ("--classes", int, "N", "Classes of the network's head.  [default: the network's own]"),
            ("--runtime", str, "NAME", "eager, compile, cudagraph or onnxruntime.  [default: eager]"),
            ("--dtype", str, "NAME", "fp32, bf16 or fp16.  [default: fp32]"),
            ("--threads", int, "N", "Threads of a pass on a CPU.  [default: 1]"),
            ("--seed", int, "S", "Seed of the architectures that are drawn.  [default: 0]"),
        ]
    ):
        command = click.option(option, type=kind, metavar=metavar, help=text)(command)
    return command


@click.group(cls=SettingsGroup, settings=_of_settings, invoke_without_command=True)
@_measuring
@click.option(
    "--architectures",
    type=LIST,
    default=(),
    metavar="A,B,…",
    help="Operators used everywhere (aff or aff/4), JSON files, RUN:TRIAL, RUN:front.  [default: every operator]",
)
@click.option("--sample", type=int, metavar="N", help="Measure N random architectures.")
@click.option(
    "--profile",
    "profile_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show what this device profile predicts beside.",
)
@json_option
@click.pass_context
def latency(
    context: click.Context,
    /,
    architectures: Sequence[str],
    sample: int | None,
    profile_path: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure p50 and p95 of architectures on a device, beside the all-add network.

    \b
    nas latency --space resnet20 --sample 3 --runtime onnxruntime
    nas latency --architectures runs/first:front --device cuda --runtime cudagraph
    nas latency profile --space resnet20 --out cpu.json    measure once, predict everywhere
    nas latency show cpu.json                              what a profile holds, and its error
    """
    if context.invoked_subcommand is not None:
        if architectures or sample or profile_path or as_json or any(value is not None for value in given.values()):
            raise click.UsageError(f"give options after the subcommand: nas latency {context.invoked_subcommand} …")
        return
    from nas.terminal.latency import measuring_on, print_measured
    from nas.tools.latency.measuring import measure_all, report_json
    from nas.tools.latency.settings import settings_of

    stderr = console(stderr=True)
    with measuring_on(stderr) as advance:
        found = measure_all(settings_of(given), architectures, sample, profile_path, narrator(stderr), advance)
    if as_json:
        click.echo(json.dumps(report_json(found), indent=2))
    else:
        print_measured(console(), found)


@latency.command(cls=SettingsCommand, settings=_of_settings)
@_measuring
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The profile to write.")
@click.option("--sample", default=100, show_default=True, metavar="N", help="Architectures to measure, at most 100.")
@json_option
def profile(out: Path, sample: int, as_json: bool, **given: Any) -> None:
    """Measure a designed set of architectures on this device and fit a predictor of the whole space.

    The file holds the measurements, the predictor and its error on architectures that it was not fitted to. An
    interrupted profile goes on with the same command. Needs PyTorch only, and neither Ray nor Optuna.
    """
    from nas.terminal.latency import measuring_on, print_profile
    from nas.tools.latency.measuring import make
    from nas.tools.latency.settings import settings_of

    stderr = console(stderr=True)
    with measuring_on(stderr) as advance:
        made = make(settings_of(given), out, sample, narrator(stderr), advance)
    if as_json:
        click.echo(json.dumps({"profile": str(out), **made.summary()}, indent=2))
    else:
        print_profile(console(), made)
        click.echo(str(out))


@latency.command()
@click.argument("profile", type=click.Path(path_type=Path))
@json_option
def show(profile: Path, as_json: bool) -> None:
    """What a device PROFILE is of, and how far its predictions are off."""
    from nas.terminal.latency import print_profile
    from trials.profile import DeviceProfile

    loaded = DeviceProfile.load(profile)
    if as_json:
        click.echo(json.dumps(loaded.to_json(), indent=2))
    else:
        print_profile(console(), loaded)
