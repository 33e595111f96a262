"""What the stages of a session ask before they begin a training: whether it fits into what the search may take.

Says how what is given is divided: at once what is known, and when the opening is over what was measured by then. Looks
end when what is left is what the finals will take, or when nothing that is left could change the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

from nas.planning.dividing import Demand, Division, Means, divide, fewer_finals
from nas.planning.ending import Ended, settled
from nas.planning.enough import MATTERS, asked_by, due, what_is_left
from nas.planning.ledger import Ledger, Limits
from nas.planning.pace import FORWARD, Pace, Work
from nas.planning.resolution import Noise, noise_before, noise_measured
from nas.settings.effort import MANY, TRIALS
from nas.settings.looks import RANKED_TRIALS
from nas.settings.search import SearchConfig
from nas.trainings.prepared import Prepared
from nas.trainings.trainings import Wanted
from reports.formatting import format_duration
from reports.noise import counted, noise_floors
from reports.view import RunView
from trials.data import DataError
from trials.record.store import Store
from trials.record.training import Training
from trials.training.final import judged_split
from trials.trial import TrialJob, TrialResult, TrialState

#: Trainings that end before what they come to is known: all-add's and one control's.
OPENING = 2
#: Rounds in which the front is measured, networks of it beside the finalists; of each the attempts on a machine that is
#: not quiet, the most that one takes, and what building it does, in seconds.
_ROUNDS, _OTHERS, _ATTEMPTS, _MOST_S, _BUILT_S = 2, 3, 1.5, 2.0, 0.3
#: What the end of a session takes beside its trainings.
_CLOSING_S = 1.0


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
        data = prepared.data
        self.pace = Pace(Work(len(data.train), len(data.val), self._images or 0))
        self.pace.learn((*view.trainings, *view.finals))
        done = sum(result.trained for result in view.results)
        #: How many trials were trained, as whoever hands them out knows it.
        self.trained: Callable[[], int] = lambda: done
        self.lost = 0  # trainings that were lost with their workers, whosever: the session is not complete
        self._repeats = 0  # of the opening, that have not ended
        self._longer: set[int] = set()  # longer looks that run, by their jobs' numbers
        #: By epochs, the longer looks that were begun.
        self._begun = Counter(t.epochs for t in view.beside if t.known and t.seed == config.seed)
        self._asked_at = asked_by(self._done)
        self._noise = self._expected_noise(view)
        self.division: Division | None = None
        #: Called when it is known how many looks there will be.
        self.on_plan: Callable[[], None] = lambda: None
        recorded = view.effort_plan or {}
        if recorded.get("settled") != settled(config):
            recorded = {}
        ended = recorded.get("ended")
        self.ended: Ended | None = None if ended is None else Ended(**ended)
        #: Finalists and seeds that an earlier session planned.
        self._kept = (recorded["finalists"], recorded["seeds"]) if recorded.get("finalists") else None
        #: Whether the finals were not begun, or not ended, for what is left does not suffice.
        self.without_finals = False
        self._cut = bool(recorded.get("cut"))

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
        given = given_text(self._config)
        if self._config.trials is None and self._config.max_trials is None:
            self._say(
                f"plan: as many looks as fit into {given}{_finals_text(asked)}: how many, when the first are over"
            )
        else:
            self._say(f"plan: {division.text(up_to=True)}, within {given}")

    @property
    def _opened(self) -> bool:
        return self.pace.measured and self._done >= min(OPENING, self._config.wanted_trials) and self._repeats <= 0

    def _say_when_open(self) -> None:
        if self.division is None and self._opened:
            self._divide_and_say()

    def _divide_and_say(self) -> None:
        self._noise = self._expected_noise(self._look_at())
        self.division = division = self._divided()
        asked = self._demand()
        less, wanted = "", f"{counted(asked.finalists, 'finalist')} × {counted(asked.seeds, 'seed')}"
        if asked.finalists and not division.finalists:
            less = f"; there is no time for {wanted}"
        elif (division.finalists, division.seeds) != (asked.finalists, asked.seeds) and asked.finalists:
            less = f"; {wanted} would take too long"
        given = self.ledger.seconds_left
        if given is None and (held := self.ledger.device_seconds_left) is not None:
            given = held / (self.ledger.devices * self.ledger.workers)
        self._say(f"plan: {division.text(given)}{less}")
        self._record()
        self.on_plan()

    def _divided(self) -> Division:
        return divide(self._demand(), self._means(), self._noise)

    def _demand(self) -> Demand:
        config = self._config
        most = len(config.seeds_of_finalists)
        looks = max(config.wanted_trials, self._done)
        finalists = min(config.wanted_finalists, max(looks - 1, 0)) if self._images is not None else 0
        longer = tuple(self._begun[epochs] for epochs in config.rung_epochs[1:])
        return Demand(
            looks, self._done, config.rung_epochs, finalists, config.finalist_seeds, most, longer, self._kept
        )  # fmt: skip

    def _means(self) -> Means:
        rungs, pace = self._config.rung_epochs, self.pace
        looks = tuple(pace.typical(epochs) + pace.beside_s for epochs in rungs)
        fixed_s = self._latency_seconds + _CLOSING_S
        return self.ledger.means(looks, pace.seconds(rungs[-1], final=True), fixed_s)

    @property
    def looks(self) -> int:
        """How many there are to be, as far as that is known: where time ends them it is not at first."""
        if self.division is not None:
            return self.division.looks[0]
        wanted = self._config.wanted_trials
        return max(self._done, wanted if wanted < MANY else TRIALS)

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
        few = min(RANKED_TRIALS, self._config.wanted_trials)
        short = self.ledger.limits.any and self.pace.known and self._divided().looks[0] < few
        if self.ended is not None or short or not self._fits(job):
            if self.ended is None:
                self.leave_out("the noise of scores is not measured further: looks take the time that there is")
            self._repeats = 0
            self._say_when_open()
            return False
        return True

    def longer(self, epochs: int) -> bool:
        """Whether a longer look at what was looked at may begin, of so many epochs."""
        if not self.ledger.limits.any or self._out_of_time(epochs) is None:
            return True
        self.leave_out("no more longer looks: there is no time for them beside the finals")
        return False

    def final(self, job: TrialJob) -> bool:
        """Whether a finalist's training may begin."""
        fits = self._fits(job)
        self._cut = self._cut or not fits
        return fits

    def leave_out(self, why: str) -> None:
        """There is no time for something that was asked."""
        self._say(why)
        self._cut = True
        self._record()

    def fits_finals(self, wanted: Sequence[Wanted]) -> bool:
        """Whether trainings of finalists end within what is left."""
        return not self.ledger.limits.any or self.ledger.means().fits((), self._seconds_of(wanted))

    @property
    def fits_latency(self) -> bool:
        """Whether measuring the front ends within what is left on the clock: no training holds a device then."""
        left = self.ledger.seconds_left
        return left is None or self._latency_seconds <= left

    def _fits(self, job: TrialJob) -> bool:
        if not self.ledger.limits.any:
            return True
        seconds = self.pace.seconds(job.epochs, job.architecture, job.final)
        return not self.ledger.over and self.ledger.means().fits([seconds], ())

    def _seconds_of(self, wanted: Sequence[Wanted]) -> list[float]:
        return [self.pace.seconds(one.epochs, one.architecture, final=True) for one in wanted]

    def _why_not(self, epochs: int) -> Ended | None:
        if self.ledger.limits.any and (found := self._out_of_time(epochs, self._owed())) is not None:
            return found
        if self._config.early_stop == "auto" and due(self._done, self._asked_at):
            self._asked_at = self._done
            return self._enough()
        return None

    def _owed(self) -> list[float]:
        """Seconds of the longer looks without which none would be of use: all-add's and another's, on each rung."""
        return [
            self.pace.seconds(epochs)
            for epochs in self._config.rung_epochs[1:]
            for _ in range(max(0, 2 - self._begun[epochs]))
        ]

    def _out_of_time(self, epochs: int, owed: Sequence[float] = ()) -> Ended | None:
        finals, means = self._finals_seconds(), self._means()
        looks = [self.pace.seconds(epochs) + self.pace.beside_s, *owed]
        if not self.ledger.over and means.fits(looks, finals):
            return None
        clock = self.ledger.seconds_left
        by_clock = clock is not None and (clock <= 0 or means.takes(looks, finals) > clock)
        left = clock if by_clock else self.ledger.device_seconds_left
        why, option = ("hours", "max_hours") if by_clock else ("gpu_hours", "max_gpu_hours")
        given = f"--{option.replace('_', '-')} {getattr(self._config, option)}"
        if left is None or left < 1:
            return Ended(why, f"nothing is left of {given}")
        for_what = "what the finals take" if finals else "less than one more look takes and measuring the front"
        return Ended(why, f"{format_duration(left)} of {given} are left, {for_what}")

    def _finals_seconds(self) -> list[float]:
        division = self.division or self._divided()
        one = self.pace.seconds(self._config.rung_epochs[-1], final=True)
        return [one] * ((1 + division.finalists) * division.seeds if division.finalists else 0)

    def _enough(self) -> Ended | None:
        resolved = (self.division or self._divided()).resolves
        matters = MATTERS if resolved is None else min(MATTERS, resolved)
        view, prepared = self._look_at().estimated(), self._prepared
        left = what_is_left(view, prepared.space, prepared.feasibility, matters, self._config.seed)
        if left is None or not left.nothing:
            return None
        return Ended("enough", f"nothing that is left could change the verdict: {left.text()}")

    def finals(self, finalists: int, trainings: Callable[[int, int], Sequence[Wanted]]) -> tuple[int, int] | None:
        """How many finalists under how many seeds fit into what is left; None where none do. `trainings` lists what is
        missing of so many under so many seeds."""
        asked = finalists, self._config.finalist_seeds
        if not self.ledger.limits.any:
            return asked
        for found in fewer_finals(*asked):
            missing = trainings(*found)
            if not missing or (not self.ledger.over and self.fits_finals(missing)):
                self._cut = self._cut or found != asked
                self._record()
                return found
        self._cut = True
        self._record()
        return None

    def too_little(self, wanted: Sequence[Wanted]) -> str:
        """What is left, beside what these would take."""
        takes = self.ledger.means().takes((), self._seconds_of(wanted))
        left = [x for x in (self.ledger.seconds_left, self.ledger.device_seconds_left) if x is not None]
        return (
            f"even one under two seeds would take about {format_duration(takes)}, and "
            f"{format_duration(max(0.0, min(left, default=0.0)))} are left"
        )

    # --- what is told ------------------------------------------------------------------------------------------

    def begun(self, job: TrialJob) -> None:
        expected = self.pace.seconds(job.epochs, job.architecture, job.final) if self.pace.known else None
        self.ledger.begun(job.number, expected)
        if job.epochs > self._config.training.epochs and not job.final:
            self._longer.add(job.number)
            self._begun[job.epochs] += 1
        self.pace.wait(0.0, another=True)

    def beside(self, seconds: float) -> None:
        self.pace.wait(seconds, another=False)

    def over(self, number: int, result: TrialResult | None) -> None:
        self.ledger.ended(number, None if result is None else result.seconds)
        self.lost += result is None
        if result is not None and result.state is TrialState.COMPLETE:
            self.pace.learn([Training.of(result)])
        if result is not None and result.final:
            return
        if number in self._longer:
            self._longer.remove(number)
        elif number < 0:
            self._repeats -= 1
        self._say_when_open()

    def looks_are_over(self, unseen: str | None) -> None:
        """All looks have ended; `unseen` says why, where no architecture was left to try."""
        if self.ended is None:
            config = self._config
            if unseen is not None:
                self.ended = Ended("unseen", unseen)
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
    def _done(self) -> int:
        return self.trained()

    @cached_property
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

    @property
    def _latency_seconds(self) -> float:
        """What measuring the front takes, by and large."""
        protocol = self._config.latency
        one_pass = FORWARD * self.pace.image * protocol.batch_size
        each = _BUILT_S + 2 * _ATTEMPTS * min(_MOST_S, (protocol.passes + protocol.warmup) * one_pass)
        return _ROUNDS * (_OTHERS + self._config.wanted_finalists) * each


def devices_of(config: SearchConfig) -> float:
    """That a training holds: a share of a GPU where that was said, else one, or one worker."""
    share = config.ray.gpus_per_trial if config.engine == "ray" else None
    return share or 1.0


def given_text(config: SearchConfig) -> str:
    """`1 h`, `1 h and 2 h of GPUs`."""
    parts = [] if config.max_seconds is None else [format_duration(config.max_seconds)]
    held = config.max_device_seconds
    return " and ".join([*parts, *([] if held is None else [f"{format_duration(held)} of GPUs"])])


def _finals_text(asked: Demand) -> str:
    if not asked.finalists:
        return ""
    return f" beside {counted(asked.finalists, 'finalist')} × {counted(asked.seeds, 'seed')}"
