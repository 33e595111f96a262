"""What all trials of a run start from under `inherit` and `supernet`: trained once, by a worker, and kept in the run.

The file holds the weights and, as its metadata, what they are of: an interrupted run takes them from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from nas.engines.engine import Engine
from nas.settings.errors import ConfigError
from nas.settings.sections import SHARED
from nas.trainings.prepared import Prepared
from reports.regime import parent_text
from search_spaces.errors import UserError
from search_spaces.inheritance import unpreserved
from trials.judge import TrialPlan
from trials.machine import device as devices
from trials.machine.quiet import occupied
from trials.seeds import derive
from trials.tasks import SceneRecipe
from trials.tasks.metrics import leading
from trials.training.checkpoint import read_checkpoint
from trials.training.resumable import Checkpoint, epochs_kept
from trials.training.starts import FromParent, FromScratch, Start, WholeSupernet, digest_of, start_from
from trials.trial import EpochPoint, Failure, Recipe, TrialJob, TrialResult, TrialState
from trials.whole_files import write_whole

_METADATA = "fusion-nas"
#: Keys of a recipe.
_OF_THE_DEVICE = ("precision", "cuda_graph")
#: Keys that classifiers have had later, as what was trained before them has them.
_LATER: Mapping[str, Any] = {"optimiser": "sgd", "max_grad_norm": None, "ema_decay": None}
#: Lines of progress that the training of a parent is told in, or about so many.
_LINES = 10
#: Validation images that a given parent is judged on, by the driver: enough to see that its images were prepared alike.
_JUDGED_IMAGES = 512


class ParentError(UserError, RuntimeError):
    """The parent or supernet could not be trained."""

    exit_code = 1


class ParentFacts(BaseModel):
    """What a parent is, as it is recorded: `identity` of the settings it follows from, `digest` of its tensors.

    `source` is the file that was given, None for one that was trained, for `epochs` in `seconds`. `score` (0..1) is its
    `metric` on `images` validation images before any fine-tuning, a supernet's that of its all-add path. `unpreserved`
    are the operators that do not start as the sum.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    regime: Literal["inherit", "supernet"]
    identity: str
    digest: str
    source: str | None
    epochs: Annotated[int, Field(ge=1)] | None
    seconds: Annotated[float, Field(ge=0)]
    metric: str
    score: Annotated[float, Field(ge=0, le=1)]
    images: Annotated[int, Field(ge=1)]
    unpreserved: list[str]


@dataclass(frozen=True)
class Parent:
    """Trained weights as safetensors bytes, and what they are."""

    facts: ParentFacts
    weights: bytes

    @property
    def start(self) -> Start:
        return start_from(self.facts.regime, self.weights)


def check_parent(prepared: Prepared, path: Path | None = None) -> None:
    """Before anything is trained: what is named as the parent can be one, unless a run has its own copy at `path`.

    Raises:
        CheckpointError: it cannot.
    """
    given = prepared.config.training.parent
    if given is not None and (path is None or not path.exists() or Path(given).exists()):
        read_checkpoint(Path(given), prepared.space)


def provide_parent(
    prepared: Prepared,
    plan: TrialPlan,
    path: Path,
    recorded: Mapping[str, Any] | None,
    engine: Engine,
    say: Callable[[str], None],
) -> Parent | None:
    """What the trials of `plan` start from, kept at `path`: found, or trained by a worker of `engine`; None under
    `scratch`.

    `recorded` are the facts of the parent that recorded trials started from, None before there is one.

    Raises:
        CheckpointError: the file that is named cannot be the parent.
        ParentError: it could not be trained.
        ConfigError: it is another one than the recorded trials started from.
    """
    training = prepared.config.training
    if training.regime not in SHARED:
        return None
    kept = _read(path, _identity(prepared)) if path.exists() else None
    if kept is None and path.exists():
        say(f"{path} is damaged or of other settings: it is made anew")
    parent = _given(prepared, training.parent, kept) if training.parent is not None else kept
    parent = parent or _trained(prepared, plan, path.absolute(), engine, say)
    if recorded is not None and recorded.get("digest") != parent.facts.digest:
        raise ConfigError(
            f"{path}: trials have started from other weights than {parent.facts.source or 'what training anew gives'}: "
            "put that file back as it was, or start over (--fresh)"
        )
    if parent is not kept:
        _keep(path, parent)
        _unfinished(path).unlink(missing_ok=True)
    if recorded is None:
        say(f"trials start from {parent.facts.source or 'it'}: {parent_text(parent.facts.model_dump())}")
    return parent


def _given(prepared: Prepared, source: str, kept: Parent | None) -> Parent:
    """The weights of a user's file, or the run's copy of them: where they are the same, or the file is gone."""
    if kept is not None and not Path(source).exists():
        return kept
    weights = save(read_checkpoint(Path(source), prepared.space))
    return kept if kept is not None and kept.facts.digest == digest_of(weights) else _judged(prepared, source, weights)


def _identity(prepared: Prepared) -> str:
    """16 hex digits over all that the weights follow from, but for the device and the versions."""
    config, recipe = prepared.config, prepared.config.training.parent_recipe()
    # These follow from the device, and what a run has recorded of it holds for all of its trainings.
    settings = None if recipe is None else {k: v for k, v in asdict(recipe).items() if k not in _OF_THE_DEVICE}
    if settings is not None and config.task == "classification":
        settings = {k: v for k, v in settings.items() if k not in _LATER or v != _LATER[k]}
    parts = {
        "regime": config.training.regime,
        "parent": None if config.training.parent is None else Path(config.training.parent).name,
        "recipe": settings,
        "seed": config.seed,
        "space": prepared.space.fingerprint,
        "data": prepared.data.fingerprint,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _identity_of_training(prepared: Prepared, recipe: Recipe | SceneRecipe) -> str:
    """The same over all that its steps follow from, precision, device and torch's version among them."""
    parts = [_identity(prepared), asdict(recipe), prepared.config.device, torch.__version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path, identity: str) -> Parent | None:
    """The parent in a file; None where that is damaged, or of other settings."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = ParentFacts.model_validate_json((file.metadata() or {}).get(_METADATA, ""))
            weights = save({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValidationError):
        return None
    return Parent(facts, weights) if facts.identity == identity and facts.digest == digest_of(weights) else None


def _keep(path: Path, parent: Parent) -> None:
    write_whole(path, save(load(parent.weights), {_METADATA: parent.facts.model_dump_json()}))


def _judged(prepared: Prepared, source: str, weights: bytes) -> Parent:
    """A parent that was given, with its score on a few validation images."""
    space = prepared.space
    device = devices.nearest(prepared.config.device)
    network = devices.on_device(FromParent(weights).network(space, space.baseline, 0), device)
    with occupied(devices.synchronise(device), device=devices.lock_name(device)) as machine:
        found = prepared.trainer.judging(_JUDGED_IMAGES).evaluate(network, machine)
    facts = ParentFacts(
        regime="inherit", identity=_identity(prepared), digest=digest_of(weights), source=source, epochs=None,
        seconds=0.0, metric=leading(prepared.config.task), score=found.score, images=found.images,
        unpreserved=list(unpreserved(space)),
    )  # fmt: skip
    return Parent(facts, weights)


def _unfinished(path: Path) -> Path:
    """Where what is to be kept at `path` is kept while it is trained."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def _trained(prepared: Prepared, plan: TrialPlan, path: Path, engine: Engine, say: Callable[[str], None]) -> Parent:
    """Trained from scratch as a trial of all-add is, or as the supernet; from where it was when it was last killed."""
    config, space, recipe = prepared.config, prepared.space, prepared.config.training.parent_recipe()
    assert recipe is not None  # a parent that is given is found, or is an error
    regime: Literal["inherit", "supernet"] = "inherit" if config.training.regime == "inherit" else "supernet"
    whole = regime == "supernet"
    say(f"training the {'supernet' if whole else 'parent, all-add,'} for {recipe.epochs} epochs, once for all trials")
    costs = prepared.baseline
    seed = derive(config.seed, "parent")
    job = TrialJob(0, "parent", space.baseline, seed, recipe.epochs, costs.macs, costs.params)
    source = _ParentSource(job, recipe.epochs, say)
    start = WholeSupernet() if whole else FromScratch()
    recipe = replace(recipe, epochs=plan.recipe.epochs, precision=plan.recipe.precision)  # the job has its own epochs
    if whole:
        recipe = replace(recipe, cuda_graph=False)  # it would hold the one path that it was captured on
    checkpoint = Checkpoint(str(_unfinished(path)), _identity_of_training(prepared, recipe))
    if over := epochs_kept(checkpoint):
        say(f"going on after epoch {over} of {job.epochs}, where it was ended")
    engine.run(replace(plan, recipe=recipe, screening=False, start=start, checkpoint=checkpoint), source)
    result, weights = source.result, source.weights
    if result is None or result.state is not TrialState.COMPLETE or weights is None:
        reason = "its weights were lost with the worker" if result is None or result.error is None else result.error
        raise ParentError(f"the {'supernet' if whole else 'parent'} of {config.out} could not be trained: {reason}")
    facts = ParentFacts(
        regime=regime, identity=_identity(prepared), digest=digest_of(weights), source=None, epochs=job.epochs,
        seconds=result.train_seconds * job.epochs / max(len(result.curve), 1),  # some epochs may be of before a kill
        metric=leading(config.task), score=result.score or 0.0, images=result.images or 1,
        unpreserved=[] if whole else list(unpreserved(space)),
    )  # fmt: skip
    return Parent(facts, weights)


class _ParentSource:
    """Hands an engine one job, tells of its epochs and keeps what it comes to."""

    def __init__(self, job: TrialJob, epochs: int, say: Callable[[str], None]) -> None:
        self._job = job
        self._waiting: list[TrialJob] = [job]
        self._epochs = epochs
        self._say = say
        self.result: TrialResult | None = None
        self.weights: bytes | None = None

    @property
    def finished(self) -> bool:
        return self.result is not None

    def next_job(self) -> TrialJob | None:
        return self._waiting.pop() if self._waiting else None

    def advance(self, number: int, point: EpochPoint) -> None:
        if point.epoch % -(-self._epochs // _LINES) == 0 or point.epoch == self._epochs:
            rate = f"loss {point.train_loss:.3f}, {point.images_per_second:,.0f} images/s"
            self._say(f"  epoch {point.epoch} of {self._epochs}: {rate}")

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self.result, self.weights = result, weights

    def fail(self, number: int, failure: Failure, error: str) -> None:
        self.result = TrialResult.of(self._job, TrialState.FAILED, failure=failure, error=error)
