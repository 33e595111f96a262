"""What the stages of a session ask before they begin a training: whether it fits into what the search may take.

Says how what is given is divided: at once what is known, and when the opening is over what was measured by then. Looks
end when what is left is what the finals will take, or when nothing that is left could change the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.planning.dividing import Demand, Division, Means, divide, finals_by_resolution
from nas.planning.enough import due, what_is_left
from nas.planning.ledger import Ledger, Limits
from nas.planning.pace import Pace
from nas.planning.resolution import Noise, noise_before, noise_measured, resolves
from nas.settings.effort import TRIALS
from nas.settings.search import RANKED_TRIALS, SearchConfig
from nas.trainings.prepared import Prepared
from nas.trainings.trainings import Wanted
from reports.effort import given_text
from reports.formatting import format_duration
from reports.noise import counted, noise_floors
from reports.view import RunView
from trials.data import DataError
from trials.record.effort import Effort
from trials.record.store import Store
from trials.record.training import Training
from trials.training.final import judged_split
from trials.trial import TrialJob, TrialResult, TrialState

#: Trainings that end before what they come to is known: all-add's and one control's.
OPENING = 2
#: Rounds in which the front is measured, networks of it beside the finalists, attempts at each on a machine that is
#: not quiet, and a forward pass as a share of a training step.
_ROUNDS, _OTHERS, _ATTEMPTS, _FORWARD = 2, 3, 1.5, 1 / 3


@dataclass(frozen=True)
class Ended:
    """Why no more looks are begun: `why` is hours, gpu_hours, trials, enough, unseen or looks (all that were asked)."""

    why: str
    text: str

    @property
    def cut(self) -> bool:
        """Whether more would be done if more were given."""
        return self.why in ("hours", "gpu_hours", "trials")


class Planner:
    """Of one session. What it says and decides is recorded, so that a session that goes on decides nothing anew that
    was decided under the same budgets."""

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        look_at: Callable[[], RunView],
        say: Callable[[str], None],
        workers: int,
        prepared_s: float = 0.0,
    ) -> None:
        """`look_at` gives the run as it is recorded; `prepared_s` is what the session has taken already."""
        config, view = prepared.config, look_at()
        self._prepared, self._config, self._store, self._look_at, self._say = prepared, config, store, look_at, say
        limits = Limits(config.max_seconds, config.max_device_seconds)
        self.ledger = Ledger(limits, view.effort, prepared_s, workers, devices_of(config))
        self.pace = Pace(1 + len(prepared.data.val) / len(prepared.data.train))
        self.pace.learn((*view.trainings, *view.finals))
        self._done = sum(result.trained for result in view.results)
        self._repeats = 0  # of the opening, that have not ended
        self._asked_at = 0
        self._noise = self._expected_noise(view)
        self.division: Division | None = None
        recorded = view.effort_plan or {}
        self.ended: Ended | None = None
        if (ended := recorded.get("ended")) and recorded.get("settled") == settled(config):
            self.ended = Ended(**ended)
        #: Whether the finals were not begun, or not ended, for what is left does not suffice.
        self.without_finals = False
        self._cut = bool(recorded.get("cut")) and recorded.get("settled") == settled(config)

    # --- what is said ------------------------------------------------------------------------------------------

    def open(self, repeats: int) -> None:
        """The looks are about to begin, `repeats` trainings for their noise among them."""
        self._repeats = repeats
        if self.ended is not None:
            self._say(f"no more looks: {self.ended.text}")
            return
        view = self._look_at()
        if view.parent is not None and view.parent.get("epochs"):
            self.pace.assume(float(view.parent["seconds"]), int(view.parent["epochs"]))
        if self._opened:
            self._divide_and_say()
            return
        limited, asked = self.ledger.limits.any, self._demand()
        division = Division((asked.looks,), asked.rungs[:1], asked.finalists, asked.seeds)
        if not limited:
            self._say(f"plan: {self._divided().text()}")
            return
        given = given_text(self._config.max_seconds, self._config.max_device_seconds)
        if self._config.trials is None and self._config.max_trials is None:
            self._say(
                f"plan: as many looks as fit into {given}{_finals_text(asked)}: how many, when the first are over"
            )
        else:
            self._say(f"plan: {division.text(up_to=True)}, within {given}")

    @property
    def _opened(self) -> bool:
        return self.pace.measured and self._done >= min(OPENING, self._config.wanted_trials) and self._repeats <= 0

    def _divide_and_say(self) -> None:
        self._noise = self._expected_noise(self._look_at())
        self.division = division = self._divided()
        asked = self._demand()
        less = ""
        if (division.finalists, division.seeds) != (asked.finalists, asked.seeds) and asked.finalists:
            less = f" (of {counted(asked.finalists, 'finalist')} × {counted(asked.seeds, 'seed')} that were asked)"
        given = self.ledger.seconds_left
        if given is None and (held := self.ledger.device_seconds_left) is not None:
            given = held / (self.ledger.devices * self.ledger.workers)
        self._say(f"plan: {division.text(given)}{less}")
        self._record()

    def _divided(self) -> Division:
        return divide(self._demand(), self._means(), self._noise)

    def _demand(self) -> Demand:
        config = self._config
        most = len(config.seeds_of_finalists)
        looks = max(config.wanted_trials, self._done)
        finalists = min(config.wanted_finalists, max(looks - 1, 0)) if self._images is not None else 0
        return Demand(looks, self._done, config.rung_epochs, finalists, config.finalist_seeds, most)

    def _means(self) -> Means:
        epochs = self._config.rung_epochs
        epoch_s = self.pace.typical
        if epoch_s is None:  # nothing is known: whatever is left suffices
            return Ledger(Limits(), Effort(), 0.0, self.ledger.workers, self.ledger.devices).means(1e-9, 1e-9)
        final_s = self.pace.seconds(epochs[-1], final=True) or 0.0
        return self.ledger.means(epoch_s, final_s, self._latency_seconds(epoch_s))

    @property
    def looks(self) -> int:
        """How many there are to be, as far as that is known: where time ends them it is not at first."""
        if self.division is not None:
            return self.division.looks[0]
        return max(self._done, min(self._config.wanted_trials, TRIALS))

    # --- what is asked -----------------------------------------------------------------------------------------

    def another(self, epochs: int) -> bool:
        """Whether a look of so many epochs may begin now: False for good."""
        if self.ended is None:
            self.ended = self._why_not(epochs)
            if self.ended is not None:
                self._say(f"no more looks: {self.ended.text}")
                self._record()
        return self.ended is None

    def repeat(self, job: TrialJob) -> bool:
        """Whether a training for the noise alone may begin: where time is short, looks come first."""
        if self.ledger.limits.any and self._divided().looks[0] < RANKED_TRIALS:
            self._repeats = 0
            return False
        return self._fits(job)

    def final(self, job: TrialJob) -> bool:
        """Whether a finalist's training may begin."""
        return self._fits(job)

    def fits_finals(self, wanted: Sequence[Wanted]) -> bool:
        """Whether trainings of finalists end within what is left."""
        seconds = [self.pace.seconds(one.epochs, one.architecture, final=True) or 0.0 for one in wanted]
        return not self.ledger.limits.any or self.ledger.means(1.0, 1.0).fits((), seconds)

    def _fits(self, job: TrialJob) -> bool:
        if not self.ledger.limits.any:
            return True
        seconds = self.pace.seconds(job.epochs, job.architecture, job.final)
        return not self.ledger.over and self.ledger.means(1.0, 1.0).fits([seconds or 0.0], ())

    def _why_not(self, epochs: int) -> Ended | None:
        if self.ledger.limits.any and (found := self._out_of_time(epochs)) is not None:
            return found
        if self._config.early_stop == "auto" and due(self._done, self._asked_at):
            self._asked_at = self._done
            return self._enough()
        return None

    def _out_of_time(self, epochs: int) -> Ended | None:
        seconds = self.pace.seconds(epochs)
        finals = self._finals_seconds()
        means = self._means()
        if not self.ledger.over and (seconds is None or means.fits([seconds], finals)):
            return None
        on_clock = self.ledger.seconds_left is not None and (
            self.ledger.seconds_left <= 0
            or (seconds is not None and means.takes([seconds], finals) > self.ledger.seconds_left)
        )
        why = "hours" if on_clock else "gpu_hours"
        left = self.ledger.seconds_left if on_clock else self.ledger.device_seconds_left
        option = f"--max-{why.replace('_', '-')} {getattr(self._config, f'max_{why}')}"
        rest = format_duration(max(left or 0.0, 0.0))
        for_finals = " is what the finals take" if finals else " is less than a look takes"
        return Ended(why, f"of {option}, {rest} {'are' if left and left > 1 else 'is'} left, which{for_finals}")

    def _finals_seconds(self) -> list[float]:
        division = self.division or self._divided()
        one = self.pace.seconds(self._config.rung_epochs[-1], final=True) or 0.0
        return [one] * ((1 + division.finalists) * division.seeds if division.finalists else 0)

    def _enough(self) -> Ended | None:
        view = self._look_at().estimated()
        matters = self.resolves
        if matters is None:
            return None
        left = what_is_left(view, self._prepared.space, self._prepared.feasibility, matters, self._config.seed)
        if left is None or not left.nothing:
            return None
        return Ended("enough", f"nothing that is left could change the verdict: {left.text()}")

    @property
    def resolves(self) -> float | None:
        """Points that the finals resolve; where there are none, that those would which are usual."""
        asked = self._demand()
        if asked.finalists:
            return (self.division or self._divided()).resolves
        return resolves(self._noise, 3, 3, 6)

    def finals(self, finalists: int, trainings: Callable[[int, int], Sequence[Wanted]]) -> tuple[int, int] | None:
        """How many finalists under how many seeds fit into what is left; None where none do. `trainings` lists what is
        missing of so many under so many seeds."""
        asked = self._demand()
        wanted = min(finalists, asked.finalists) if asked.finalists else finalists
        demand = Demand(asked.looks, asked.done, asked.rungs, wanted, asked.seeds, asked.most)
        if not self.ledger.limits.any:
            return finalists, asked.seeds
        for found in finals_by_resolution(self._noise, demand):
            if not self.ledger.over and self.fits_finals(trainings(*found)):
                self._cut = self._cut or found != (wanted, asked.seeds)
                self._record()
                return found
        self._cut = True
        self._record()
        return None

    def too_little(self, wanted: Sequence[Wanted]) -> str:
        """What is left, beside what these would take."""
        seconds = [self.pace.seconds(one.epochs, one.architecture, final=True) or 0.0 for one in wanted]
        takes = self.ledger.means(1.0, 1.0).takes((), seconds)
        left = [x for x in (self.ledger.seconds_left, self.ledger.device_seconds_left) if x is not None]
        return (
            f"even one under two seeds would take about {format_duration(max(takes, 0.0))}, and "
            f"{format_duration(max(0.0, min(left, default=0.0)))} are left"
        )

    # --- what is told ------------------------------------------------------------------------------------------

    def begun(self, job: TrialJob) -> None:
        self.ledger.begun(job.number, self.pace.seconds(job.epochs, job.architecture, job.final))

    def over(self, number: int, result: TrialResult | None) -> None:
        self.ledger.ended(number, None if result is None else result.seconds)
        if result is not None and result.state is TrialState.COMPLETE:
            self.pace.learn([Training.of(result)])
        if result is not None and result.final:
            return
        opened = self._opened
        if number < 0:
            self._repeats -= 1
        elif result is not None and result.trained:
            self._done += 1
        if not opened and self._opened:
            self._divide_and_say()

    def looks_are_over(self, unseen: bool) -> None:
        """All looks have ended; `unseen` where no architecture was left to try."""
        if self.ended is None:
            config = self._config
            if unseen:
                self.ended = Ended("unseen", "no unseen architecture within the budgets was left to try")
            elif config.max_trials is not None and config.wanted_trials < (config.trials or config.max_trials + 1):
                self.ended = Ended("trials", f"--max-trials {config.max_trials} were trained")
            else:
                self.ended = Ended("looks", f"all {config.wanted_trials} looks were taken")
        self._record()

    def _record(self) -> None:
        division = self.division or self._divided()
        self._store.put({"effort_plan": {
            **division.to_json(), "text": division.text(), "settled": settled(self._config),
            "cut": self._cut or (self.ended is not None and self.ended.cut),
            "ended": None if self.ended is None else {"why": self.ended.why, "text": self.ended.text},
        }})  # fmt: skip

    # --- what is known -----------------------------------------------------------------------------------------

    @property
    def _images(self) -> int | None:
        """That finalists are judged by; None where there are none."""
        try:
            return len(judged_split(self._prepared.data))
        except DataError:
            return None

    def _expected_noise(self, view: RunView) -> Noise:
        config = self._config
        base = view.baseline_trial
        score = base.result.score if base is not None else (view.parent or {}).get("score")
        images = self._images if config.task == "classification" else None
        before = noise_before(config.training.regime == "scratch", images, score)
        floors = [floor for floor in noise_floors(view) if floor.epochs <= config.rung_epochs[-1]]
        return noise_measured(before, floors[-1] if floors else None)

    def _latency_seconds(self, epoch_s: float) -> float:
        """What measuring the front takes, by and large."""
        protocol, images = self._config.latency, len(self._prepared.data.train)
        one_pass = _FORWARD * epoch_s / images * protocol.batch_size
        networks = _ROUNDS * (_OTHERS + self._config.wanted_finalists)
        return 2 * _ATTEMPTS * networks * min(2.0, (protocol.passes + protocol.warmup) * one_pass)


def devices_of(config: SearchConfig) -> float:
    """That a training holds: a share of a GPU where that was said, else one, or one worker."""
    share = config.ray.gpus_per_trial if config.engine == "ray" else None
    return share or 1.0


def settled(config: SearchConfig) -> dict[str, Any]:
    """What a decision to end was made under: under more than that it is made anew."""
    names = ("max_hours", "max_gpu_hours", "early_stop")
    return {name: getattr(config, name) for name in names} | {"trials": config.wanted_trials}


def _finals_text(asked: Demand) -> str:
    if not asked.finalists:
        return ""
    return f" beside {counted(asked.finalists, 'finalist')} × {counted(asked.seeds, 'seed')}"
