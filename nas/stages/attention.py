"""`nas attention`: what the attention weights of trained networks are over the validation images. Nothing is trained.

The weights of a run's finished trials are kept: looking at them takes an evaluation each, on request and of the front
when a search has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nas.stages.trained import TrainedNetworks, kept_numbers
from nas.trainings.recorded import Places, recorded_config
from nas.trainings.run_record import RunRecord
from reports.errors import SelectionError
from reports.trial_view import TrialView
from reports.view import RunView
from trials.attention.histograms import TrialAttention
from trials.attention.measuring import attention_of
from trials.latency.runtimes import intra_op_threads


def look(folder: Path, say: Callable[[str], None]) -> None:
    """At the trials of the front, see `collect_attention`."""
    collect_attention(folder, (), say)


def collect_attention(
    folder: Path, selectors: Sequence[str], say: Callable[[str], None], places: Places | None = None
) -> RunView:
    """Record the attention histograms of the selected trials, of the front where none is named; returns the run.

    What the record has is not collected again. Of the front, a trial whose weights were not kept is left out. `places`
    say where the run's data and network are now.

    Raises:
        SelectionError: no such trial, its weights were not kept, or the data have changed.
        StoreError: the run's record cannot be used.
    """
    view = RunView.load(folder).estimated()
    chosen = [view.select(selector) for selector in selectors] or list(view.front)
    kept = kept_numbers(view, folder)
    for trial in chosen if selectors else ():
        if trial.result.number not in kept | view.attention.keys():
            instead = f"one of trials {', '.join(map(str, sorted(kept)))}" if kept else "another run"
            raise SelectionError(f"the weights of trial {trial.result.number} are not kept: choose {instead}")
    waiting = {t.result.number: t for t in chosen if t.result.number in kept - view.attention.keys()}
    if not waiting:
        return view
    with RunRecord.open(folder) as record:
        for found in _collected(record.view, list(waiting.values()), say, places or {}):
            known = [*record.view.attention.values(), found]
            record.put({"attention": {str(one.number): one.to_json() for one in known}})
        return record.view.estimated()


def _collected(
    view: RunView, trials: Sequence[TrialView], say: Callable[[str], None], places: Places
) -> Iterator[TrialAttention]:
    networks = TrainedNetworks(view, recorded_config(view, places), say)
    numbers = ", ".join(str(trial.result.number) for trial in trials)
    say(f"looking at the attention weights of trial{'s' * (len(trials) > 1)} {numbers}")
    # As in a trial: several threads would round sums in another order, and move a weight across the edge of a bin.
    with intra_op_threads(1):
        for trial in trials:
            network = networks.network(trial)
            yield attention_of(trial.result.number, network, trial.result.architecture, networks.trainer)
