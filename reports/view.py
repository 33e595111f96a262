"""A run as people and programs read it: its trials priced under its budgets, its front, its selections."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.collecting import uncollected
from reports.front import non_dominated
from reports.model import FAILED, KEY, Made, Model, kept_of
from reports.recorded import device_profile, recorded_config
from reports.rungs import longer_looks, longest_compared, rungs_of
from reports.selecting import selected
from reports.trial_view import OBJECTIVES, TrialView, rank
from search_spaces.architecture import Architecture, FusionChoice
from trials.attention.histograms import TrialAttention, recorded_histograms
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.pricing import Priced, Pricing, Source
from trials.errors import StoreDamaged, StoreError
from trials.record.effort import Effort
from trials.record.evidence import Evidence
from trials.record.faults import damaged
from trials.record.file import FILE_NAME
from trials.record.store import Session, Store
from trials.record.training import Training
from trials.tasks.metrics import Task, label, leading
from trials.trial import Failure, FinalMeasurement, Latency, TrialResult, TrialState

if TYPE_CHECKING:
    from trials.estimates.estimate import Estimate
    from trials.profile.device_profile import DeviceProfile


@dataclass(frozen=True)
class RunView:
    """One run, read from its record at one moment.

    `config` is the run's configuration as JSON; `points` the space's fusion points (name, kind, channels,
    height, width, stride, choices); `baseline` the costs of all-add, None before they were taken; `profile` the
    device profile that latencies are predicted by; `measured` the latencies that were measured for good on
    `latency_target`, by trial; `final_stage` how that stage ended, None before it has; `beside` the trainings
    that belong to no trial, of `nas noise`, `nas trust` and `nas ablate`, `trust_plan` and `advice` what the first two
    were asked and recommended, `ablations` what the third was asked, by trial; `attention` the histograms of attention
    weights, by trial; `seen` what was drawn and timed of the best detector or segmenter; `parent` the facts of the
    weights that every trial started from, None where each started from new ones; `precision` the choice of what they
    are trained in and the speeds it was made by, None where none was made; `finals` are the finalists' trainings, which
    are no trials' looks, and `finals_plan` what was asked of them; `evidence` is what counts of other runs; `effort` is
    what all of it has taken, and `effort_plan` how that was divided and what ended it; `moments` are when trials were
    recorded, by number, in seconds since 1970.

    `model` is what all trainings say together, and `estimates` what it makes of each trained architecture, by key:
    `estimated` has them made. A search under way does without, and ranks by scores.
    """

    path: Path
    config: Mapping[str, Any]
    description: Mapping[str, Any]
    baseline: Costs | None
    constraints: tuple[Constraint, ...]
    results: tuple[TrialResult, ...]
    sessions: tuple[Session, ...]
    profile: DeviceProfile | None = None
    measured: Mapping[int, tuple[Latency, ...]] = field(default_factory=dict)
    latency_target: str | None = None
    final_stage: Mapping[str, Any] | None = None
    beside: tuple[Training, ...] = ()
    trust_plan: Mapping[str, Any] | None = None
    advice: Mapping[str, Any] | None = None
    parent: Mapping[str, Any] | None = None
    precision: Mapping[str, Any] | None = None
    ablations: Mapping[str, Any] = field(default_factory=dict)
    attention: Mapping[int, TrialAttention] = field(default_factory=dict)
    seen: Mapping[str, Any] | None = None
    finals: tuple[Training, ...] = ()
    finals_plan: Mapping[str, Any] | None = None
    evidence: tuple[Evidence, ...] = ()
    effort: Effort = field(default_factory=Effort)
    effort_plan: Mapping[str, Any] | None = None
    moments: Mapping[int, float] = field(default_factory=dict)
    model: Model | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    #: Of every training but the finalists', as they were recorded, the number of its trial, None for one beside them.
    order: tuple[int | None, ...] = ()
    #: What a search of many trainings kept of its estimates, see `reports.model`.
    kept_estimates: Mapping[str, Any] | None = None
    #: Why they could not be made beside the search, the last time; None where they could.
    estimating_failed: str | None = None

    @classmethod
    def load(cls, path: Path | str) -> RunView:
        """Read the run in the folder `path`. Raises StoreError as `Store.open` does, and StoreDamaged where what is
        recorded cannot be what a search recorded: to SQLite a changed byte inside a value is no damage."""
        folder = Path(path)
        with Store.open(folder / FILE_NAME) as store:
            try:
                view = cls.of(folder, store)
                view._read()
                return view
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                if isinstance(error, StoreError):
                    raise
                raise StoreDamaged(damaged(store.path, f"a value of it is not readable: {error}")) from error

    def _read(self) -> None:
        """What everybody asks for. Raises where what is recorded can be no search's."""
        if self.description:
            leading(self.task)
            [OBJECTIVES[name] for name in self.description.get("objectives") or ()]
        self.baseline_architecture  # noqa: B018

    @classmethod
    def of(cls, path: Path, store: Store) -> RunView:
        """The run in an open record, as it is at one moment."""
        with uncollected(), store.at_once():
            return cls._of(path, store)

    @classmethod
    def _of(cls, path: Path, store: Store) -> RunView:
        baseline, profile, target = (store.get(key) for key in ("baseline", "latency_profile", "latency_target"))
        measured: dict[int, tuple[Latency, ...]] = {}
        for one in store.measurements():
            if one.target == target:
                measured[one.number] = (*measured.get(one.number, ()), one.latency)
        return cls(
            path=path,
            config=recorded_config(store),
            description=store.get("description"),
            baseline=None if baseline is None else Costs(**baseline),
            constraints=tuple(Constraint.from_json(c) for c in store.get("constraints") or ()),
            results=store.results(),
            sessions=store.sessions(),
            profile=None if profile is None else device_profile(profile, path),
            measured=measured,
            latency_target=target,
            final_stage=store.get("final_stage"),
            beside=store.trainings_beside(),
            trust_plan=store.get("trust"),
            advice=store.get("noise_advice"),
            parent=store.get("parent"),
            precision=store.get("precision"),
            ablations=store.get("ablations") or {},
            attention=recorded_histograms(store.get("attention") or {}, path),
            seen=store.get("seen"),
            finals=store.final_trainings(),
            finals_plan=store.get("finals"),
            evidence=tuple(Evidence.from_json(one) for one in store.get("evidence") or ()),
            effort=Effort.of(path, store),
            moments=store.moments(),
            effort_plan=store.get("effort_plan"),
            order=store.trained_order(),
            kept_estimates=store.get(KEY),
            estimating_failed=store.get(FAILED),
        )

    def estimated(self) -> RunView:
        """The run with estimates of its complete trials from all that was trained: what is ranked, put on a front and
        selected by. The same run where too little was trained for any."""
        complete = [result for result in self.results if result.state is TrialState.COMPLETE]
        if not complete or not self.description.get("points"):
            return self
        epochs = longest_compared(self.rungs, self.trainings) or complete[0].epochs
        made = Made(self.trainings, self.baseline_architecture, (complete[0].start, epochs), self.evidence)
        kept = kept_of(self.kept_estimates, made)
        if kept is not None:
            return self._with(Model(made, kept), kept.estimates)
        from trials.estimates.estimates import NoEstimate  # scipy takes a while

        try:
            fitted = made.fit()
        except NoEstimate:
            return self
        architectures = [result.architecture for result in complete]
        found = {a.key: one for a, one in zip(architectures, fitted(architectures), strict=True)}
        return self._with(Model(made, fitted=fitted), found)

    def _with(self, model: Model, estimates: Mapping[str, Estimate]) -> RunView:
        """The run with what is estimated of it. Prices are what they were."""
        estimated = replace(self, model=model, estimates=estimates)
        estimated.__dict__.update({"_priced": self._priced, "trainings": self.trainings})
        return estimated

    def with_measurement(self, measurement: FinalMeasurement) -> RunView:
        """The run one measurement later."""
        rounds = (*self.measured.get(measurement.number, ()), measurement.latency)
        return replace(self, measured={**self.measured, measurement.number: rounds})

    def with_training(self, training: Training) -> RunView:
        """The run one training of no trial later. Not estimated."""
        return replace(self, beside=(*self.beside, training), order=(*self.order, None), model=None, estimates={})

    def with_result(self, result: TrialResult) -> RunView:
        """The run one event later: `result` added, or in place of the stopped trial of its number. Not estimated."""
        if self.model is not None:
            return replace(self, model=None, estimates={}).with_result(result)
        place = bisect_left(self.results, result.number, key=lambda r: r.number)
        after = place + (place < len(self.results) and self.results[place].number == result.number)
        order = (*self.order, result.number) if result.trained else self.order
        later = replace(self, results=(*self.results[:place], result, *self.results[after:]), order=order)
        # Nothing else of the run has changed: what was priced stays, only the front is asked about the new one.
        later.__dict__["pricing"] = self.pricing
        trials = [*self.trials[:place], later._price(result, self.pricing.price(result)), *self.trials[after:]]
        later.__dict__["trials"] = tuple(later._fronted(trials, place))
        return later

    def _fronted(self, trials: list[TrialView], place: int) -> list[TrialView]:
        """The trials, the one at `place` newly priced: it joins the front or not, and may push others off it.

        What was dominated stays so: nothing that was on a front goes but by being dominated.
        """
        new = trials[place]
        if new.able:
            before = {trial.result.number: index for index, trial in enumerate(trials) if trial.on_front}
            kept = self._non_dominated([*(trials[index] for index in before.values()), new])
            for number, index in before.items():
                if number not in kept:
                    trials[index] = replace(trials[index], on_front=False)
            trials[place] = replace(new, on_front=new.result.number in kept)
        return trials

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """All that was trained: for its trials, and beside them."""
        return (*(Training.of(result) for result in self.results if result.trained), *self.beside)

    def in_order(self) -> Iterator[tuple[int | None, Training]]:
        """The same as they were recorded, each with the number of its trial, None where no trial asked for it."""
        of_trials = {result.number: Training.of(result) for result in self.results if result.trained}
        beside = iter(self.beside)
        for number in self.order:
            training = of_trials.pop(number, None) if number is not None else next(beside, None)
            if training is not None:
                yield number, training
        yield from of_trials.items()
        yield from ((None, training) for training in beside)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs of each complete schedule that its trials may have been trained by, growing."""
        return rungs_of(self.config)

    @cached_property
    def _longer(self) -> Mapping[tuple[str, int], Training]:
        return longer_looks(self.rungs, self.beside)

    @cached_property
    def _failed_longer(self) -> Mapping[tuple[str, int], Training]:
        return longer_looks(self.rungs, self.beside, failed=True)

    @property
    def baseline_architecture(self) -> Architecture:
        """All-add, trained or not."""
        space = self.description.get("space") or {}
        names = [str(point.get("name")) for point in self.description.get("points") or ()]
        return Architecture(str(space.get("name")), {name: FusionChoice("add") for name in names})

    @property
    def objectives(self) -> tuple[str, ...]:
        return tuple(self.description["objectives"])

    @property
    def task(self) -> Task:
        """Records of the time when there was no other do not name it."""
        task: Task = self.description.get("task", "classification")
        return task

    @property
    def metric(self) -> str:
        """The figure that a trial's score is: `accuracy`, `ap`, `miou`."""
        return leading(self.task)

    @property
    def score_label(self) -> str:
        """That figure as people write it: accuracy, AP, mIoU."""
        return label(self.metric)

    @cached_property
    def pricing(self) -> Pricing:
        """What trials cost under the run's present budgets."""
        block = self.description.get("latency_protocol", {}).get("block", 1)
        return Pricing(self.constraints, self.baseline, self.profile, self.measured, block)

    @cached_property
    def trials(self) -> tuple[TrialView, ...]:
        """Every recorded trial, by number, priced under the run's present budgets."""
        with uncollected():
            priced = [self._price(result, costs) for result, costs in zip(self.results, self._priced, strict=True)]
        kept = self._non_dominated([view for view in priced if view.able])
        return tuple(replace(view, on_front=True) if view.result.number in kept else view for view in priced)

    @cached_property
    def _priced(self) -> tuple[Priced, ...]:
        with uncollected():
            return tuple(map(self.pricing.price, self.results))

    def _price(self, result: TrialResult, priced: Priced) -> TrialView:
        return TrialView(
            result,
            feasible=priced.feasible,
            on_front=False,
            violations=priced.violations,
            latency=priced.latency,
            crosses=priced.crosses,
            metric=self.metric,
            estimate=self.estimates.get(result.architecture.key) if result.state is TrialState.COMPLETE else None,
            longer=self._longer.get((result.architecture.key, result.seed)),
            fails_longer=self._failed_longer.get((result.architecture.key, result.seed)),
            baseline_known=self._baseline_known,
            open=tuple(metric for metric, within in priced.within.items() if within is None),
        )

    @cached_property
    def _baseline_known(self) -> bool:
        return any(r.origin == "baseline" and r.state is TrialState.COMPLETE for r in self.results)

    def _non_dominated(self, views: Sequence[TrialView], names: Sequence[str] = ()) -> set[int]:
        """The numbers of the complete trials among them that no other one dominates in these objectives."""
        names = names or self.objectives
        rivals = [
            view
            for view in views
            if view.result.state is TrialState.COMPLETE and all(view.objective(name) is not None for name in names)
        ]
        points = [[view.objective(name) or 0.0 for name in names] for view in rivals]
        kept = non_dominated(points, [OBJECTIVES.get(name, False) for name in names])
        return {view.result.number for view, keep in zip(rivals, kept, strict=True) if keep}

    @property
    def to_measure(self) -> tuple[TrialView, ...]:
        """What the last stage has to measure: trials that were not, and may be on the front for all that is known."""
        open_ = [trial for trial in self.trials if trial.feasible is not False and trial.fails_longer is None]
        kept = self._non_dominated(open_)
        if "latency_ms" in self.objectives:  # a run that was extended: whose latency is not known is dominated by none
            kept |= {t.result.number for t in open_ if t.latency is None and t.result.state is TrialState.COMPLETE}
        return tuple(t for t in self.trials if t.result.number in kept and t.result.number not in self.measured)

    @property
    def taken_off(self) -> tuple[TrialView, ...]:
        """Complete trials that the measurement at the end found over the latency budget."""
        return tuple(
            t
            for t in self.complete
            if t.latency is not None
            and t.latency.source is Source.MEASURED
            and t.feasible is False
            and t.violations.get("latency_ms", 0) > 0
        )

    @property
    def complete(self) -> tuple[TrialView, ...]:
        return tuple(t for t in self.trials if t.result.state is TrialState.COMPLETE)

    @property
    def feasible(self) -> tuple[TrialView, ...]:
        """Complete trials within every budget."""
        return tuple(t for t in self.complete if t.feasible)

    @property
    def able(self) -> tuple[TrialView, ...]:
        """Those of them that may be recommended: no longer training of theirs failed."""
        return tuple(t for t in self.feasible if t.able)

    @property
    def front(self) -> tuple[TrialView, ...]:
        """The front in the run's objectives, the highest estimate or score first."""
        return tuple(sorted((t for t in self.trials if t.on_front), key=rank))

    @property
    def exportable(self) -> tuple[TrialView, ...]:
        """Complete trials whose weights are worth keeping: the baseline, and the fronts of what is feasible in score or
        loss, multiply-adds and latency together, whatever the objectives: estimates go by both."""
        wide = self._non_dominated(self.feasible, (self.metric, "macs", "latency_ms"))
        wide |= self._non_dominated(self.feasible, ("loss", "macs", "latency_ms"))
        return tuple(t for t in self.complete if t.on_front or t.result.number in wide or t.result.origin == "baseline")

    @property
    def baseline_trial(self) -> TrialView | None:
        """The trained all-add network, None before it is complete."""
        return next((t for t in self.complete if t.result.origin == "baseline"), None)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do under the run's configuration: enough trained (or no architecture left to
        train), the front measured, the finalists judged, and no training lost with its worker for good."""
        trained = self.count(TrialState.COMPLETE) + self.count(TrialState.FAILED)
        ended = bool(self.sessions) and self.sessions[-1].outcome == "complete"
        no_time = ended and bool((self.effort_plan or {}).get("cut"))
        complete = self.count(TrialState.COMPLETE)
        measured = self.final_stage is not None or not complete or no_time
        wanted = self.config.get("finalists") not in ("none", 0) and complete > 1
        judged = not wanted or (self.finals_plan or {}).get("ended_at") is not None
        wanted_trials = self.config.get("trials")  # None: as many as fit into the time that was given
        enough = wanted_trials is not None and trained >= int(wanted_trials) and not self.count(TrialState.STOPPED)
        ends = [s.outcome for s in self.sessions if s.outcome in ("complete", "budget", "lost")]
        return (enough or ended) and measured and judged and ends[-1:] != ["lost"]

    def count(self, state: TrialState) -> int:
        return sum(result.state is state for result in self.results)

    @property
    def failures(self) -> dict[str, int]:
        """How many trials failed of each kind, the commonest first; those of older records are `error`."""
        kinds = (str(r.failure or Failure.ERROR) for r in self.results if r.state is TrialState.FAILED)
        return dict(Counter(kinds).most_common())

    def select(self, selector: str) -> TrialView:
        """`best | knee | fastest | cheapest` among the feasible, or a trial by its number; raises as `selected`."""
        return selected(self, selector)

    def budget_text(self) -> str:
        """The budgets in words, "no budget" when there is none."""
        return ", ".join(str(c) for c in self.constraints) or "no budget"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": {
                "path": str(self.path),
                "config": dict(self.config),
                "task": self.task,
                "objectives": list(self.objectives),
                "constraints": [str(c) for c in self.constraints],
                "baseline": None if self.baseline is None else self.baseline.to_json(),
                "counts": {str(state): self.count(state) for state in TrialState},
                "failures": self.failures,
                "front": [t.result.number for t in self.front],
                "parent": None if self.parent is None else dict(self.parent),
                "precision": None if self.precision is None else dict(self.precision),
            },
            "trials": [t.to_json() | {self.metric: t.result.score} for t in self.trials],
        }
