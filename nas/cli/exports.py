"""The commands that take an exported folder: verify, retrain. Only click is imported at start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--no-run", is_flag=True, help="Hashes, imports and pickles only: nothing of DIR is run.")
@json_option
def verify(folder: Path, no_run: bool, as_json: bool) -> None:
    """Check an exported folder: hashes, imports, no pickles that run code, formats that agree.

    DIR is what nas export wrote; it needs no run and no data. Comparing the formats runs the export's own code, which
    is no sandbox: with --no-run of a stranger's folder nothing is. Ends with 1 where something is wrong.
    """
    from nas.export.verifying import verify as verified

    found = verified(folder, not no_run)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, why in found["wrong"].items():
            click.echo(f"{name}: {why}")
        for name, why in found["notes"].items():
            click.echo(f"{name}: {why}", err=True)
        for name, gaps in found["differences"].items():
            what = "of the boxes" if name == "detect.onnx" else "of the largest value"
            click.echo(f"{name}: within {max(gaps.values()):.2g} {what}")
        click.echo(f"{folder}: {'sound' if found['passed'] else 'not what was exported'}")
    if not found["passed"]:
        raise SystemExit(1)


@click.command()
@click.argument("source", metavar="EXPORT", type=click.Path(path_type=Path))
@click.option("--epochs", type=click.IntRange(min=1), required=True, help="Of one whole schedule.")
@click.option(
    "--data", metavar="NAME", help="As of nas search; a folder is always named.  [default: what it was searched on]"
)
@click.option("--data-dir", metavar="DIR", help="Where datasets are looked for.")
@click.option("--image-size", type=int, metavar="PIXELS", help="Resize images of a folder to this square.")
@click.option("--train-images", type=int, metavar="N", help="Train on a subset.")
@click.option(
    "--start",
    type=click.Choice(["inherited", "scratch"]),
    default="inherited",
    show_default=True,
    help="Go on from the weights that were exported, or begin anew.",
)
@click.option(
    "--teacher", type=click.Path(path_type=Path), metavar="DIR", help="Learn from that export, or run's parent."
)
@click.option("--ema", type=float, default=0.999, show_default=True, help="Average of the weights; 0 for none.")
@click.option("--peak-lr", type=float, metavar="RATE", help="[default: the search's]")
@click.option("--batch-size", type=int, metavar="N", help="Of all processes together.  [default: the search's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--trial", metavar="TRIAL", help="Where EXPORT is a run: which of its trials.")
@click.option("--space", metavar="FILE.py:OBJECT", help="Where a network of one's own is now.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="[default: EXPORT; in a run, retrained]")
@click.option("--formats", metavar="LIST", help="As of nas export.  [default: those of EXPORT]")
@json_option
def retrain(
    source: Path,
    trial: str | None,
    space: str | None,
    out: Path | None,
    formats: str | None,
    ema: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Train an exported network for real, and export it anew.

    The same command goes on after its last finished epoch. Several processes share each batch under
    `torchrun --nproc-per-node N -m nas retrain …`. EXPORT may be a run, with --trial: of one whose weights are not kept
    with --start scratch. What goes on from weights that saw validation images, as a finalist's did, is judged on the
    test split.
    """
    from nas.tools.retraining import retrain as retrained
    from nas.tools.retraining.retrain import Wishes, target_of

    wishes = Wishes(ema=ema or None, **given)
    wanted = None if formats is None else [name.strip() for name in formats.split(",")]
    report = retrained(source, out, wishes, trial, space, wanted, lambda line: click.echo(line, err=True))
    if report is not None:
        target = str(target_of(source, out))
        click.echo(json.dumps({"exported": target, "parity": report}, indent=2) if as_json else target)
