"""How looks rank beside the truth, of trainings whose ranks are known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from bench_tables import invented
from rich.console import Console
from scipy.stats import spearmanr

from nas.bench.datasheet import looks_against, means, of_schedule
from nas.bench.editions import EDITIONS, Schedule
from nas.terminal.bench import _print_looks

EDITION = EDITIONS["cpu"]
TRUTH = Schedule("scratch", 18)


def test_all_networks_that_have_a_look_and_the_truth_count_whatever_seeds_they_have() -> None:
    """Most were trained under one seed: a look from the parent shares nothing with new weights under the same seed."""
    trainings = list(invented(noise=0.3).trainings)
    doubled = {t.architecture.key for t in trainings[: 10 * 3]}
    some = [t for t in trainings if t.seed == 0 or t.architecture.key in doubled]
    found = looks_against(EDITION, some, TRUTH)
    assert found["inherit-3"]["accuracy"]["architectures"] == 64
    assert found["inherit-3"]["accuracy"]["seeds"] == 3
    # From new weights as the truth is: the other seeds alone, of which only ten networks have any.
    assert found["scratch-18"]["accuracy"]["architectures"] == 10


def test_a_table_of_before_is_shown_without_intervals() -> None:
    text = io.StringIO()
    looks = {"scratch-18": {"inherit-3": {"loss": {"rho": 0.5, "tau": 0.25, "architectures": 14}}}}
    _print_looks(Console(file=text, width=120), looks)
    assert "0.50  0.25" in text.getvalue()


def test_rho_is_spearmans_over_seeds_with_fiellers_interval() -> None:
    trainings = list(invented(noise=0.4, seeds=2).trainings)
    found = looks_against(EDITION, trainings, TRUTH)["inherit-3"]["loss"]
    truth = means(of_schedule(trainings, TRUTH), "accuracy")
    by_hand = []
    for seed in (0, 1):
        look = {t.architecture.key: -t.loss for t in of_schedule(trainings, Schedule("inherit", 3)) if t.seed == seed}
        by_hand.append(spearmanr([look[key] for key in truth], [truth[key] for key in truth]).statistic)
    assert found["rho"] == pytest.approx(np.mean(by_hand), abs=1e-3)
    half = 1.96 * (1.06 / 61) ** 0.5
    assert np.arctanh(found["high"]) - np.arctanh(found["low"]) == pytest.approx(2 * half, abs=0.01)
    assert found["low"] < found["rho"] < found["high"]
