"""What a gain consists of: validation images on which the recommended classifier and all-add say different things."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reports.view import RunView

#: In a run's folder, beside its record: it can be made again from the run's weights.
CONTACT_NAME = "contact.json"
_PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+")


@dataclass(frozen=True)
class Shown:
    """One image as a data address: what it is, what all-add said, and what the trial says; `kind` is gained or lost."""

    kind: str
    truth: str
    before: str
    said: str
    picture: str

    def __post_init__(self) -> None:
        if not _PICTURE.fullmatch(self.picture):
            raise ValueError("a picture is a PNG or JPEG as a data address")


@dataclass(frozen=True)
class Contact:
    """Of a trial beside all-add, over `images` validation images; `counts` of all four kinds, `shown` some of two."""

    trial: int
    baseline: int
    images: int
    counts: Mapping[str, int]
    shown: tuple[Shown, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def contact_of(view: RunView) -> Contact | None:
    """What was kept of a run; None where nothing was, or it cannot be read."""
    try:
        found = json.loads((view.path / CONTACT_NAME).read_text("utf-8"))
        shown = tuple(Shown(**one) for one in found["shown"])
        counts = {str(name): int(number) for name, number in found["counts"].items()}
        return Contact(int(found["trial"]), int(found["baseline"]), int(found["images"]), counts, shown)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def contact_text(found: Contact) -> str:
    """What the sheet is of, in sentences."""
    gained, lost = found.counts.get("gained", 0), found.counts.get("lost", 0)
    return (
        f"Of {found.images:,} validation images trial {found.trial} and all-add are both right on "
        f"{found.counts.get('both right', 0):,} and both wrong on {found.counts.get('both wrong', 0):,}. Trial "
        f"{found.trial} alone is right on {gained:,}, all-add alone on {lost:,}: that difference is the gain of one "
        "training each. Shown are some of both kinds, evenly spaced."
    )
