"""The commands of `nas latency`. Only click is imported at start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nas.cli.options import Setting, json_option, options

#: What all of them take that measure.
_OPTIONS: list[Setting] = [
    ("--space", str, "NAME", "A named space, FILE.py:DESIGN, or FILE.json from nas check --json.  [default: resnet8]"),
    ("--size", str, "HxW", "Height and width of the images, square.  [default: the network's own]"),
    ("--channels", int, "N", "Channels of the images.  [default: the network's own]"),
    ("--classes", int, "N", "Classes of the network's head.  [default: the network's own]"),
    ("--operators", str, "A,B,…", "Offer only these fusion operators."),
    ("--reductions", str, "R,R,…", "Offer only these reduction ratios.  [default: 4,8,16]"),
    ("--points", str, "P,P,…", "Vary only these fusion points or stages."),
    ("--tie", str, "HOW", "stage: one common choice for the points of a stage."),
    ("--device", str, "DEVICE", "auto, cpu, cuda or cuda:N.  [default: auto]"),
    ("--runtime", str, "NAME", "eager, compile, cudagraph or onnxruntime.  [default: eager]"),
    ("--dtype", str, "NAME", "fp32, bf16 or fp16.  [default: fp32]"),
    ("--batch", int, "B", "Images a pass.  [default: 1]"),
    ("--threads", int, "N", "Threads of a pass on a CPU.  [default: 1]"),
    ("--passes", int, "N", "Passes of each network, at most 2 s.  [default: 200]"),
    ("--attempts", int, "N", "Attempts at a measurement that drifts or scatters.  [default: 3]"),
    ("--seed", int, "S", "Seed of the architectures that are drawn.  [default: 0]"),
]


_options = options(_OPTIONS)


@click.group(invoke_without_command=True)
@_options
@click.option(
    "--architectures",
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
    architectures: str | None,
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
    references = [part.strip() for part in (architectures or "").split(",") if part.strip()]
    if context.invoked_subcommand is not None:
        if references or sample or profile_path or as_json or any(value is not None for value in given.values()):
            raise click.UsageError(f"give options after the subcommand: nas latency {context.invoked_subcommand} …")
        return
    from nas.terminal.console import console
    from nas.tools.latency.measuring import measure_all, print_measured, report_json
    from nas.tools.latency.settings import settings_of

    found = measure_all(settings_of(given), references, sample, profile_path, console(stderr=True))
    if as_json:
        click.echo(json.dumps(report_json(found), indent=2))
    else:
        print_measured(console(), found)


@latency.command()
@_options
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The profile to write.")
@click.option("--sample", default=100, show_default=True, metavar="N", help="Architectures to measure, at most 100.")
@json_option
def profile(out: Path, sample: int, as_json: bool, **given: Any) -> None:
    """Measure a designed set of architectures on this device and fit a predictor of the whole space.

    The file holds the measurements, the predictor and its error on architectures that it was not fitted to. An
    interrupted profile goes on with the same command. Needs PyTorch only, and neither Ray nor Optuna.
    """
    from nas.terminal.console import console
    from nas.terminal.latency import print_profile
    from nas.tools.latency.measuring import make
    from nas.tools.latency.settings import settings_of

    made = make(settings_of(given), out, sample, console(stderr=True))
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
    from nas.terminal.console import console
    from nas.terminal.latency import print_profile
    from trials.profile import DeviceProfile

    loaded = DeviceProfile.load(profile)
    if as_json:
        click.echo(json.dumps(loaded.to_json(), indent=2))
    else:
        print_profile(console(), loaded)
