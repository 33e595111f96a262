"""The commands that list what may vary: `nas spaces` and `nas discover`. Only click is imported at start."""

from __future__ import annotations

import json

import click

from nas.cli.options import SettingsCommand, json_option, options_of
from nas.terminal.console import console


@click.command()
@json_option
def spaces(as_json: bool) -> None:
    """List the named search spaces."""
    from nas.terminal.networks import print_spaces
    from search_spaces.listing import list_spaces

    found = list_spaces()
    if as_json:
        click.echo(json.dumps({"spaces": found}, indent=2))
    else:
        print_spaces(console(), found)


@click.command(cls=SettingsCommand, settings=options_of("operators", "reductions"))
@click.argument("model", required=False)
@click.option("--size", default=224, metavar="PIXELS", show_default=True, help="Height and width of its images.")
@click.option("--channels", default=3, metavar="N", show_default=True, help="Channels of its images.")
@click.option("--survey", is_flag=True, help="Instead of MODEL: what is found in eleven torchvision networks.")
@json_option
def discover(
    model: str | None,
    size: int,
    channels: int,
    operators: list[str] | None,
    reductions: list[int] | None,
    survey: bool,
    as_json: bool,
) -> None:
    """List the fusion points of MODEL, and what in it cannot be varied and why.

    MODEL is torchvision:NAME (randomly initialised) or FILE.py:OBJECT, an nn.Module or what returns one.
    """
    if survey == (model is not None):
        raise click.UsageError("give a MODEL or --survey")
    from nas.terminal.networks import print_discovered, print_survey
    from nas.tools.discover import discover_model
    from search_spaces import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS
    from search_spaces.discovery.survey import survey as survey_networks

    offered = DEFAULT_OPERATORS if operators is None else tuple(operators)
    ratios = DEFAULT_REDUCTIONS if reductions is None else tuple(reductions)
    if model is None:
        rows = list(survey_networks(operators=offered, reductions=ratios))
        if as_json:
            click.echo(json.dumps({"survey": rows}, indent=2))
        else:
            print_survey(console(), rows)
        return
    space = discover_model(model, channels, size, offered, ratios)
    if as_json:
        click.echo(json.dumps({**space.to_json(), "size": space.size}, indent=2))
    else:
        print_discovered(console(), space)
