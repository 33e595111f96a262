"""A run's own configuration and space, as its record has them; where things are now may be given."""

from __future__ import annotations

from collections.abc import Mapping

from nas.settings.loading import load_config, read_config
from nas.settings.search import SearchConfig
from reports.view import RunView
from search_spaces.references import is_reference
from search_spaces.space import SearchSpace

#: Settings of where things are, for a command that reads a run: None for what is where it was.
Places = Mapping[str, str | None]


def recorded_config(view: RunView, places: Places) -> SearchConfig:
    """Raises ConfigError for a place that cannot be one."""
    given = {key: value for key, value in places.items() if value is not None}
    return load_config(None, {**view.config, **given}) if given else read_config(view.config)


def recorded_space(view: RunView, config: SearchConfig) -> SearchSpace:
    """The space of a run's trials. Raises SpaceError where its network is not there, or has changed since."""
    recorded = view.description["space"]
    source = {"source": config.space} if is_reference(config.space) else {}
    return SearchSpace.from_json({**recorded, **source})
