"""The named spaces as data, for `nas spaces`."""

from __future__ import annotations

from typing import Any

from search_spaces import catalogue
from search_spaces.space import SearchSpace


def list_spaces() -> list[dict[str, Any]]:
    """Name, summary, number of points, choices at each, size and default input of every named space."""
    spaces = [SearchSpace.named(name) for name in catalogue.names()]
    return [
        {
            "name": space.name,
            "summary": space.design.summary,
            "points": len(space.points),
            "choices": [len(point.choices) for point in space.points],
            "size": space.size,
            "input": space.input.to_json(),
            "operators": list(space.operators),
            "reductions": list(space.reductions),
        }
        for space in spaces
    ]
