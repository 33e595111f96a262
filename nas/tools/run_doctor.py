"""`nas doctor RUN`: is a run whole, and if not, what is damaged or missing. Nothing is written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from nas.tools.kept_files import readable
from reports.formatting import format_bytes
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.errors import StoreDamaged
from trials.record import lease, schema
from trials.record.faults import BUSY_S, told
from trials.record.file import FILE_NAME, PARENT_NAME, check, is_active, reading_address
from trials.record.images import final_images_path
from trials.record.weights import training_weights_path, weights_path
from trials.trial import TrialState

#: How many names a line lists.
_SHOWN = 5


class Health(StrEnum):
    """What was found of a part: nothing, something to know, or damage."""

    OK = "ok"
    NOTE = "note"
    DAMAGED = "DAMAGED"


@dataclass(frozen=True)
class Part:
    """One part of a run that was looked at, what was found, and of damage the mend."""

    name: str
    health: Health
    found: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine_run(folder: Path) -> Iterator[Part]:
    """Look at all of a run, a part at a time; of a damaged record there is no more to see.

    Raises:
        StoreError: the folder holds no run, or one of a newer version; StoreBusy: another process has locked it.
    """
    path = folder / FILE_NAME
    mend = f"nas recover {folder} --out NEW brings what can be read into a new run"
    try:
        version = check(path, schema.READABLE)
        with told(path), closing(_connect(path)) as connection:
            problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            held = lease.Lease.read(connection)
            dangling = [] if version == 1 else _dangling(connection)
        if problems != ["ok"]:
            yield Part("record", Health.DAMAGED, f"{len(problems)} faults, the first: {problems[0]}", mend)
            return
    except StoreDamaged as error:
        yield Part("record", Health.DAMAGED, str(error), mend)
        return
    yield Part("record", Health.OK, f"{path}, {format_bytes(path.stat().st_size)}, passes its integrity check")
    yield _schema(version)
    yield _lease(folder, held)
    if dangling:
        said = f"{_names(dangling, 'trial')} refer to trainings that are not there"
        yield Part("trials", Health.DAMAGED, said, mend)
        return
    try:
        view = RunView.load(folder)
    except Exception as error:  # rows that contradict themselves, whatever they do
        yield Part("rows", Health.DAMAGED, f"{type(error).__name__}: {' '.join(str(error).split())}", mend)
        return
    parts: tuple[Callable[[], Part], ...] = (
        lambda: _sessions(view), lambda: _trials(view), lambda: _hashes(view), lambda: _weights(view),
        lambda: _parent(view), lambda: _finals(view),
    )  # fmt: skip
    for look in parts:
        yield look()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(reading_address(path), uri=True, timeout=BUSY_S)


def _dangling(connection: sqlite3.Connection) -> list[str]:
    """Trials whose training is not there."""
    lost = "SELECT number FROM trials WHERE training NOT IN (SELECT id FROM trainings)"
    without = "SELECT number FROM trials WHERE training IS NULL AND state IN ('complete', 'failed')"
    return [str(row[0]) for row in connection.execute(f"{lost} UNION {without} ORDER BY number")]


def _schema(version: int) -> Part:
    if version == schema.SCHEMA_VERSION:
        return Part("schema", Health.OK, f"version {version}, the present one")
    return Part("schema", Health.NOTE, f"version {version}: a search carries it over to {schema.SCHEMA_VERSION}")


def _lease(folder: Path, held: lease.Lease | None) -> Part:
    if held is None:
        return Part("lease", Health.OK, "nobody is searching here")
    if is_active(folder):
        return Part("lease", Health.OK, f"{held.holder} is searching here")
    wait = "" if held.alive is False else f", after a wait of {lease.expires_s():.0f} s on another machine"
    return Part("lease", Health.NOTE, f"{held.holder} ended without letting go: the next search takes over{wait}")


def _sessions(view: RunView) -> Part:
    killed = [str(session.id) for session in view.sessions if session.ended_at is None]
    if killed and is_active(view.path):
        killed.pop()
    said = f"{len(view.sessions)} recorded"
    if killed:
        return Part("sessions", Health.NOTE, f"{said}, {_names(killed, 'session')} without an end: killed, or lost")
    return Part("sessions", Health.OK, f"{said}, each with its end")


def _trials(view: RunView) -> Part:
    counts = ", ".join(f"{view.count(state)} {state}" for state in TrialState if view.count(state))
    beside = len(view.beside)
    without = f"; {beside} trainings of no trial" if beside else ""
    return Part("trials", Health.OK, f"{counts or 'none'}{without}")


def _hashes(view: RunView) -> Part:
    """Of each architecture, whether what is recorded of it gives the key that it is known by."""
    path = view.path / FILE_NAME
    wrong: list[str] = []
    rows = 0
    with told(path), closing(_connect(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, number in (("trials", "number"), ("trainings", "id"), ("repeats", "id")):
            if table in tables:
                for row, key, space, choices in connection.execute(
                    f"SELECT {number}, key, space, choices FROM {table}"
                ):
                    rows += 1
                    if not _is_key(key, space, choices):
                        wrong.append(f"{table} {row}")
    if wrong:
        said = f"{_names(wrong, 'row')} of other choices than their key says"
        return Part("hashes", Health.DAMAGED, said, f"nas recover {view.path} --out NEW leaves them out")
    return Part("hashes", Health.OK, f"{rows} architectures are what their keys say")


def _is_key(key: str, space: str, choices: str) -> bool:
    try:
        return Architecture.from_json({"space": space, "choices": json.loads(choices)}).key == key
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _weights(view: RunView) -> Part:
    """Kept weights: whole, of something that is recorded, and there for what would be exported."""
    folder = view.path
    files = sorted((folder / "weights").glob("*.safetensors"))
    damaged = [f"{file.name} ({why})" for file in files if (why := readable(file)) is not None]
    if damaged:
        mend = "remove them: another trial can be exported, and a search with --fresh makes them anew"
        return Part("weights", Health.DAMAGED, _names(damaged, "file"), mend)
    known = {weights_path(folder, result.number) for result in view.results}
    known |= {training_weights_path(folder, training) for training in (*view.trainings, *view.finals)}
    orphans = [file.name for file in files if file not in known]
    missing = [
        f"trial {trial.result.number}"
        for trial in view.exportable
        if not weights_path(folder, trial.result.number).is_file()
    ]
    said = f"{len(files)} files, {format_bytes(sum(file.stat().st_size for file in files))}"
    notes = [f"{_names(orphans, 'file')} of nothing recorded"] if orphans else []
    notes += [f"not there of {_names(missing, 'trial')} on the front"] if missing else []
    return Part("weights", Health.NOTE if notes else Health.OK, "; ".join((said, *notes)))


def _parent(view: RunView) -> Part:
    path, recorded = view.path / PARENT_NAME, view.parent
    if recorded is None:
        return Part("parent", Health.OK, "trials start from new weights")
    if not path.is_file():
        return Part("parent", Health.NOTE, f"{path.name} is not there: a search makes it anew, or says that it cannot")
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    from trials.training.starts import digest_of

    try:
        found = digest_of(save(load_file(path)))
    except SafetensorError as error:
        found = str(error)
    if found != recorded.get("digest"):
        said = f"{path.name} has digest {found[:60]}, recorded is {recorded.get('digest')}"
        return Part("parent", Health.DAMAGED, said, "put it back from a copy, or remove it: a search makes it anew")
    return Part("parent", Health.OK, f"{path.name} has the digest that is recorded, {found}")


def _finals(view: RunView) -> Part:
    paths = [final_images_path(view.path, training) for training in view.finals if training.error is None]
    damaged = [f"{path.name} ({why})" for path in paths if path.is_file() and (why := readable(path)) is not None]
    if damaged:
        return Part("finals", Health.DAMAGED, _names(damaged, "file"), "put them back from a copy")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        return Part("finals", Health.NOTE, f"{_names(missing, 'file')} not there: the verdict is by scores alone")
    return Part("finals", Health.OK, f"{len(paths)} finalists' trainings with their images" if paths else "none")


def _names(names: list[str], kind: str) -> str:
    """`3 trials (0, 4, 9)`"""
    shown = ", ".join(name.removeprefix(f"{kind} ") for name in names[:_SHOWN])
    return f"{len(names)} {kind}{'' if len(names) == 1 else 's'} ({shown}{', …' if len(names) > _SHOWN else ''})"
