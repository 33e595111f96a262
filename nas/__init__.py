"""Neural architecture search over the fusion operators of vision networks.

import nas

run = nas.search(space="resnet8", data="fashion-mnist-mini", trials=12, max_flops="1.05x", out="runs/first")
run.front()                      # the Pareto front, the highest score first
run.report()                     # runs/first/report.html
run.export("knee", "exported")   # a model that needs only torch, or only ONNX Runtime

run = nas.open_run("runs/first") # the same object, later

space = nas.discover(model, images)                        # the fusion points of your own network
child = nas.inherit(model, space.uniform("aff"), space)    # its weights, other fusions, the same outputs at first
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from nas.run import Run
    from search_spaces import Architecture, DiscoveredSpace, SearchSpace
    from search_spaces.space import Tie

__version__ = "0.1.0"
__all__ = ["__version__", "discover", "inherit", "open_run", "search"]


def search(
    config: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    extend: bool = False,
    fresh: bool = False,
    **settings: Any,
) -> Run:
    """Search as `nas search` does, and return the run.

    Args:
        config: a TOML file; its settings are overridden by `settings`.
        resume: the folder of a run to go on with as it was configured, in place of `config`.
        extend, fresh: as the options of `nas search`.
        settings: keys of the configuration (`trials=12`); a table is a dict (`training={"epochs": 2}`).

    Raises:
        ConfigError, SpaceError, DataError: bad settings, in one line.
        StoreError: the record in `out` cannot be used.
        NothingFeasible: no architecture meets the budgets.
    """
    from pathlib import Path

    from nas.logs.log import Logged
    from nas.session.session import run_search
    from nas.settings.changes import resumed
    from nas.settings.errors import ConfigError
    from nas.settings.loading import load_config
    from nas.telling import Silence
    from reports import RunView

    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat.update({f"{key}.{name}": _plain(part) for name, part in inner} if inner else {key: _plain(value)})
    if resume is None:
        wanted = load_config(None if config is None else Path(config), flat)
        with Logged(Silence(), wanted.log) as progress:
            return run_search(wanted, progress, extend, fresh)
    if config is not None or fresh:
        raise ConfigError(f"resume {resume} goes on with that run as it is: leave out config and fresh")
    wanted = resumed(RunView.load(resume).config, str(resume), flat, extend)
    with Logged(Silence(), wanted.log) as progress:
        return run_search(wanted, progress, extend)


def _plain(value: Any) -> Any:
    """A setting as a TOML file would have it: paths as text, tuples as lists."""
    import os

    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return list(value) if isinstance(value, tuple) else value


def open_run(path: str | Path, *, data: str | None = None, space: str | None = None) -> Run:
    """The run in a folder. Raises StoreError when it holds no readable one.

    `data` and `space` say where those are now, if they have moved since: they are recognised by their fingerprints.
    """
    from nas.run import Run

    return Run(path, data=data, space=space)


def discover(
    model: nn.Module,
    example_input: Tensor,
    operators: Sequence[str] | None = None,
    reductions: Sequence[int] | None = None,
    *,
    vary: Sequence[str] = (),
    tie: Tie = "none",
    name: str | None = None,
) -> DiscoveredSpace:
    """The fusion points of your own network as a search space, see `search_spaces.discover`.

    Raises SpaceError when the network cannot be traced or has nothing to vary.
    """
    from search_spaces import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS
    from search_spaces import discover as find

    offered = DEFAULT_OPERATORS if operators is None else operators
    ratios = DEFAULT_REDUCTIONS if reductions is None else reductions
    return find(model, example_input, offered, ratios, vary=vary, tie=tie, name=name)


def inherit(parent_model: nn.Module, architecture: Architecture, space: SearchSpace | None = None) -> nn.Module:
    """The network of an architecture with another network's weights, see `search_spaces.inherit`.

    Raises SpaceError when the weights do not fit.
    """
    from search_spaces import inherit as build

    return build(parent_model, architecture, space)
