"""Whole searches in this process: real data, real training, a real record."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import nas_program, start_nas, wait_for

import nas
from nas.settings.errors import ConfigError
from reports import NothingFeasible, RunView, SelectionError
from reports.errors import AllFailed
from trials.data import DataError
from trials.errors import DeviceError, StoreDamaged, StoreError
from trials.record.store import Store
from trials.trial import Failure, TrialState


def outcome(run: nas.run.Run) -> list[tuple[Any, ...]]:
    """What must not depend on time: everything but latencies and seconds."""
    return [
        (r.number, r.state, r.origin, r.architecture, r.score, r.loss, r.correct, r.macs, r.params)
        for r in run.view.results
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of six trials under a FLOP budget, its report written, its best exported."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run = nas.search(
        space="resnet8", train_images=512, val_fraction=0.05, trials=6, engine="local", max_flops="1.05x",
        training={"epochs": 1, "batch_size": 64, "regime": "scratch"}, latency={"passes": 30, "attempts": 1},
        sampler="tpe", export="none", finalists="none", out=str(folder),
    )  # fmt: skip
    run.report()
    run.export("best")
    return folder


@pytest.mark.slow
def test_a_search_begins_with_the_baseline_and_each_uniform_operator(finished: Path) -> None:
    run = nas.open_run(finished)
    first = run.trials[:6]
    assert [t.result.origin for t in first] == ["baseline"] + ["uniform"] * 5
    operators = [{choice.split("/")[0] for choice in t.result.architecture.labels().values()} for t in first]
    assert operators == [{"add"}, {"concat"}, {"se"}, {"cbam"}, {"aff"}, {"iaff"}]


def test_a_search_whose_sampler_opens_itself_begins_with_two_controls_and_trains_all_it_proposes(
    tiny: dict[str, Any],
) -> None:
    run = nas.search(**tiny | {"trials": 6, "max_flops": "1.05x", "sampler": "ehvi", "prior": "cbam"})
    origins = [t.result.origin for t in run.trials]
    assert origins == ["baseline", "uniform", *["sampler"] * 4]
    assert all(t.result.state is TrialState.COMPLETE for t in run.trials)
    seen = {choice.op for t in run.trials for choice in t.result.architecture.choices.values()}
    assert seen == {"add", "concat", "se", "cbam", "aff", "iaff"}


def test_an_operator_that_stands_nowhere_is_no_control(tiny: dict[str, Any]) -> None:
    """Every point of GoogLeNet merges four maps, and here one tied pair of a BiFPN has one of three."""
    narrow = {"space": "resnet20-bifpn", "points": ["bottom_up"], "tie": "stage", "trials": 2}
    run = nas.search(**tiny | narrow)
    assert [t.result.origin for t in run.trials] == ["baseline", "uniform"]
    assert run.trials[1].result.architecture.labels()["bottom_up.n1"] == "concat"


def test_what_is_over_budget_is_recorded_and_never_trained(finished: Path) -> None:
    run = nas.open_run(finished)
    limit = 1.05 * run.view.baseline.macs
    gated = [t for t in run.trials if t.result.state is TrialState.GATED]
    assert gated
    assert all(t.result.macs > limit and t.result.score is None and not t.result.curve for t in gated)
    assert run.view.count(TrialState.COMPLETE) == 6
    assert all(t.result.macs <= limit and t.feasible for t in run.view.complete)


def test_a_run_records_what_was_counted_and_with_what(finished: Path) -> None:
    view = nas.open_run(finished).view
    assert view.description["counting"]["input_shape"] == [1, 1, 28, 28]
    assert "fvcore" in view.description["counting"]["counter"]
    by_label = {str(t.result.architecture.labels()): t.result for t in view.trials}
    assert len({r.workload for r in by_label.values()}) > 2
    for r in by_label.values():
        assert r.workload is not None
        assert 0 < r.workload.elementwise_ops < r.macs
        assert 4 * r.params < r.workload.bytes_moved
        assert 0 < (r.workload.inference_bytes or 0) < (r.workload.training_bytes or 0)


def test_show_json_has_the_documented_shape(finished: Path) -> None:
    shown = json.loads(nas_program("show", finished, "--json").stdout)
    assert set(shown) == {"run", "trials", "trust", "verdict", "evidence"}
    for trial in shown["trials"]:
        assert trial["state"] in ("complete", "failed", "gated", "stopped")
        assert set(trial["choices"]) == {"layer1.0", "layer2.0", "layer3.0"}
        assert {
            "number",
            "accuracy",
            "macs",
            "params",
            "workload",
            "latency_ms",
            "feasible",
            "on_front",
            "seed",
            "seconds",
        } <= set(trial)
        if trial["state"] == "complete":
            latency = trial["latency_ms"]  # measured of the front, where nothing asks for it
            assert (latency is not None) == trial["on_front"]
            assert latency is None or 0 < latency["p50"] <= latency["p95"]
            assert 0 <= trial["accuracy"] <= 1
    assert any(trial["on_front"] for trial in shown["trials"])


def test_selections(finished: Path) -> None:
    run = nas.open_run(finished)
    complete = run.view.feasible
    assert run.select("best").quality == max(t.quality for t in complete)
    assert all(t.estimate is not None for t in complete)
    assert run.select("cheapest").result.macs == min(t.result.macs for t in complete)
    fastest = run.select("fastest").objective("latency_ms")
    assert fastest == min(t.objective("latency_ms") or float("inf") for t in complete)
    assert run.select("knee") in run.front()
    assert run.select(0).result.origin == "baseline"
    with pytest.raises(SelectionError, match="no trial 99"):
        run.select(99)
    with pytest.raises(SelectionError, match="best, knee, fastest, cheapest"):
        run.select("bset")


def test_the_exported_source_reproduces_the_recorded_accuracy_to_the_last_image(finished: Path) -> None:
    best = nas.open_run(finished).select("best").result
    parity = json.loads((finished / "exported" / "parity.json").read_text())
    assert parity["passed"]
    program = """
import sys; sys.path.insert(0, ".")
import torch, model
images, labels = torch.load("val.pt", weights_only=True)
with torch.inference_mode():
    logits = torch.cat([model.load()(model.preprocess(part)) for part in images.split(256)])
assert not {"nas", "search_spaces", "trials", "reports", "numpy.testing"} & set(sys.modules)
print(int((logits.argmax(1) == labels).sum()), len(labels))
"""
    from trials.data import DataConfig, load_data

    val = load_data(DataConfig(train_images=512, val_fraction=0.05)).val
    torch.save((val.images, val.labels), finished / "exported" / "val.pt")
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=finished / "exported", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(best.correct), str(best.images)]
    (finished / "exported" / "val.pt").unlink()


@pytest.mark.slow
def test_weights_are_kept_while_they_fit_and_then_those_worth_exporting(
    finished: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(folder: Path) -> set[int]:
        return {int(path.stem.split("-")[1]) for path in (folder / "weights").iterdir()}

    assert kept(finished) == {t.result.number for t in nas.open_run(finished).view.complete}
    monkeypatch.setattr("nas.session.weights.MAX_WEIGHT_BYTES", 0)
    run = nas.search(**tiny | {"trials": 9})
    # By the latencies of the trials: the last stage measures the front anew when all is trained.
    as_trained = dataclasses.replace(run.view, measured={})
    by_score = dataclasses.replace(as_trained, model=None, estimates={})
    # An estimate may rise after its weights have gone; what is on a front by scores never was off one.
    assert {t.result.number for t in by_score.exportable} | {0} <= kept(run.path)
    dropped = {t.result.number for t in run.view.complete} - kept(run.path)
    assert dropped
    with pytest.raises(SelectionError, match="are not kept: choose one of trials"):
        run.export(min(dropped), tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_running_it_again_changes_nothing(finished: Path) -> None:
    before = (finished / "study.db").read_bytes()
    config = nas.open_run(finished).view.config
    again = nas.search(**{key: value for key, value in config.items() if value is not None})
    assert len(again.trials) == len(nas.open_run(finished).trials)
    assert (finished / "study.db").read_bytes() == before


def test_the_same_seed_gives_the_same_search(tiny: dict[str, Any], tmp_path: Path) -> None:
    settings = tiny | {"trials": 8, "train_images": 128}
    first = nas.search(**settings)
    second = nas.search(**settings | {"out": str(tmp_path / "second")})
    third = nas.search(**settings | {"out": str(tmp_path / "third"), "seed": 1})
    assert outcome(first) == outcome(second)
    assert outcome(first) != outcome(third)


@pytest.mark.slow
def test_an_extended_search_goes_on_as_if_it_had_been_longer_from_the_start(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    # Seven trials have no repeats for the noise, and ten have, which our sampler learns from: none in either.
    settings = tiny | {"train_images": 128, "noise_seeds": 1}
    nas.search(**settings | {"trials": 7})
    extended = nas.search(**settings | {"trials": 10}, extend=True)
    whole = nas.search(**settings | {"trials": 10, "out": str(tmp_path / "whole")})
    assert outcome(extended) == outcome(whole)


def test_a_changed_budget_reprices_without_training_again(tiny: dict[str, Any]) -> None:
    wide = nas.search(**tiny | {"trials": 4})
    assert all(t.feasible for t in wide.trials)
    tight = nas.search(**tiny | {"trials": 4, "max_flops": "1.01x"}, extend=True)
    assert [r.seconds for r in tight.view.results] == [r.seconds for r in wide.view.results]
    assert any(t.feasible is False for t in tight.trials)
    assert all(t.result.macs <= 1.01 * tight.view.baseline.macs for t in tight.front())


def test_another_configuration_in_the_same_folder_is_refused_with_a_diff(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny | {"trials": 1})
    before = (run.path / "study.db").read_bytes()
    with pytest.raises(ConfigError, match=r"trials: recorded 1, given 2.*--extend.*--fresh"):
        nas.search(**tiny | {"trials": 2})
    with pytest.raises(ConfigError, match=r"seed: recorded 0, given 5.*--fresh"):
        nas.search(**tiny | {"trials": 1, "seed": 5}, extend=True)
    assert (run.path / "study.db").read_bytes() == before


def test_fresh_puts_the_earlier_run_aside_and_only_when_the_new_one_can_start(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny | {"trials": 1})
    with pytest.raises(NothingFeasible):
        nas.search(**tiny | {"max_flops": "0.5x"}, fresh=True)
    assert len(nas.open_run(run.path).trials) == 1
    nas.search(**tiny | {"trials": 2}, fresh=True)
    assert len(nas.open_run(run.path).trials) == 2
    assert len(nas.open_run(run.path.with_name("run.old-1")).trials) == 1
    link = run.path.with_name("link")
    link.symlink_to(run.path)
    nas.search(**tiny | {"trials": 1, "out": str(link)}, fresh=True)
    assert link.is_symlink()
    assert len(nas.open_run(run.path).trials) == 1, "in the link's place as before"


def test_diverging_trials_are_recorded_as_failed_and_the_search_goes_on(tiny: dict[str, Any]) -> None:
    with pytest.raises(AllFailed, match=r"all trained trials of .* failed \(2 "):
        nas.search(**tiny | {"trials": 2, "training": tiny["training"] | {"peak_lr": 1e12}})
    view = RunView.load(tiny["out"])
    assert [r.state for r in view.results] == [TrialState.FAILED] * 2
    assert {r.failure for r in view.results} <= {Failure.DIVERGED, Failure.EXPLODING_GRADIENTS}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"space": "resnet9"}, ValueError, "resnet8"),
        ({"operators": ["add", "afff"]}, ValueError, "did you mean 'aff'"),
        ({"operators": ["se"]}, ValueError, "'add'"),
        ({"reductions": [65]}, ValueError, "layer3.0"),
        ({"data": "folder:/not/there"}, DataError, "/not/there"),
        ({"train_images": 10**6}, DataError, "1000000|1,000,000"),
        ({"device": "cuda:99"}, DeviceError, "cuda:99"),
        ({"device": "abacus"}, DeviceError, "auto, cpu, cuda"),
        ({"training": {"cutout": 28}}, ConfigError, "training.cutout: given 28, but the images are 28 pixels wide"),
        ({"training": {"batch_size": 5000}}, ConfigError, "training.batch_size: given 5000"),
        ({"max_flops": "1M"}, NothingFeasible, "the closest, add at every point, has macs 9,559,168"),
        ({"max_params": "0.9x"}, NothingFeasible, "the closest, add at .* params 77,754"),
        ({"max_latency": "1us"}, NothingFeasible, "all-add, which does the least work, takes"),
    ],
)
def test_what_cannot_be_searched_is_said_and_nothing_is_made(
    tiny: dict[str, Any], settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nas.search(**tiny | settings)
    assert not Path(tiny["out"]).exists()


def test_a_folder_that_holds_something_else_is_left_alone(tiny: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match=r"thesis\.tex and no run"):
        nas.search(**tiny)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "hole"])
def test_a_damaged_record_is_said_and_left_untouched(finished: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(finished, folder)
    whole = (folder / "study.db").read_bytes()
    half = len(whole) // 2
    content = {
        "empty": b"",
        "garbage": b"not a database at all" * 100,
        "truncated": whole[:half],
        "hole": whole[:4096] + bytes(half - 4096) + whole[half:],
    }[damage]
    (folder / "study.db").write_bytes(content)
    listing = sorted(folder.rglob("*"))
    done = nas_program("status", folder)
    assert done.returncode == 5
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(StoreDamaged):
        nas.open_run(folder)
    config = nas.open_run(finished).view.config
    with pytest.raises(StoreDamaged):
        nas.search(**{k: v for k, v in config.items() if v is not None} | {"out": str(folder)})
    assert (folder / "study.db").read_bytes() == content
    assert sorted(folder.rglob("*")) == listing


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        nas.open_run(tmp_path)


def test_changed_data_are_noticed(tmp_path: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(60):
            pixels = torch.randint(0, 256, (16, 16, 3), generator=generator, dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{index}.png")
    settings = tiny | {"data": f"folder:{tmp_path / 'images'}", "train_images": None, "trials": 1}
    settings["training"] = {"epochs": 1, "batch_size": 32, "regime": "scratch"}
    run = nas.search(**settings)
    assert run.view.description["data"]["classes"] == ["cat", "dog"]
    next((tmp_path / "images" / "cat").iterdir()).unlink()
    with pytest.raises(ConfigError, match=r"are not those of its first trials \(fingerprint .*--data says where"):
        nas.search(**settings | {"trials": 2}, extend=True)
    with pytest.raises(SelectionError, match="are not those of the search"):
        run.export("best", tmp_path / "exported")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_an_interrupted_search_says_how_to_go_on_and_does(
    tiny: dict[str, Any], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    arguments = [
        "search", "--space", "resnet8", "--train-images", "1500", "--trials", "3", "--epochs", "2", "--engine", "local",
        "--regime", "scratch", "--finalists", "none", "--export", "none", "--out", tmp_path / "run",
    ]  # fmt: skip
    program = start_nas(*arguments)
    wait_for(program, tmp_path / "run", complete=1)
    program.send_signal(number)
    _, narration = program.communicate(timeout=60)
    assert program.returncode == code
    assert "everything is saved" in narration
    (again,) = [line.split() for line in narration.splitlines() if line.startswith("  nas search ")]
    assert again == ["nas", "search", "--resume", str(tmp_path / "run")]
    assert "Traceback" not in narration
    before = RunView.load(tmp_path / "run")
    assert before.count(TrialState.COMPLETE) >= 1
    assert before.sessions[-1].outcome == "interrupted"
    done = nas_program(*again[1:])
    assert done.returncode == 0, done.stderr
    after = RunView.load(tmp_path / "run")
    assert after.count(TrialState.COMPLETE) == 3
    assert after.count(TrialState.STOPPED) == 0
    kept = {r.number: r for r in before.results if r.state is TrialState.COMPLETE}
    assert all(r == kept[r.number] for r in after.results if r.number in kept)
    assert [s.outcome for s in after.sessions] == ["interrupted", "complete"]


@pytest.mark.slow
def test_a_users_own_space_is_searched_and_exported(tiny: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "my_space.py"
    file.write_text(
        "from search_spaces.networks import ResNetDesign\n"
        "SPACE = ResNetDesign('a narrow ResNet-14', 'basic', (2, 2, 2), (8, 16, 32), 'cifar')\n"
    )
    run = nas.search(**tiny | {"space": f"{file}:SPACE", "tie": "stage", "points": ["layer2", "layer3"], "trials": 2})
    for trial in run.trials:
        labels = list(trial.result.architecture.labels().values())
        assert labels[:2] == ["add", "add"]
        assert (labels[2], labels[4]) == (labels[3], labels[5])
    assert run.export(0, tmp_path / "exported")["passed"]
    file.write_text(file.read_text().replace("(8, 16, 32)", "(8, 16, 64)"))
    done = nas_program(
        "search", "--space", f"{file}:SPACE", "--tie", "stage", "--points", "layer2,layer3", "--trials", 3,
        "--train-images", 256, "--engine", "local", "--epochs", 1, "--batch-size", 64, "--out", run.path, "--extend",
    )  # fmt: skip
    assert done.returncode == 2
    assert "--fresh" in done.stderr


def test_fresh_leaves_alone_what_is_no_run_or_is_being_searched(tiny: dict[str, Any], finished: Path) -> None:
    folder = Path(tiny["out"])
    folder.mkdir()
    (folder / "cat.jpg").write_text("precious")
    with pytest.raises(ConfigError, match=r"cat\.jpg and no run"):
        nas.search(**tiny, fresh=True)
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith("run")] == ["run"]
    config = {k: v for k, v in nas.open_run(finished).view.config.items() if v is not None}
    with (
        Store.open_for_writing(finished / "study.db"),
        pytest.raises(StoreError, match="is being searched now"),
    ):
        nas.search(**config, fresh=True)
    assert (finished / "study.db").exists()


def test_a_report_does_not_overwrite_the_record(finished: Path) -> None:
    before = (finished / "study.db").read_bytes()
    done = nas_program("report", finished, "--out", finished / "study.db")
    assert done.returncode == 2
    assert "no HTML page" in done.stderr
    assert (finished / "study.db").read_bytes() == before


@pytest.mark.slow
def test_budgets_that_widen_again_find_their_weights(tiny: dict[str, Any], tmp_path: Path) -> None:
    nas.search(**tiny | {"trials": 3})
    nas.search(**tiny | {"trials": 4, "max_flops": "1.001x"}, extend=True)
    run = nas.search(**tiny | {"trials": 5}, extend=True)
    assert run.export("best", tmp_path / "exported")["passed"]


@pytest.mark.slow
def test_the_baseline_is_never_gated_by_a_second_measurement(tiny: dict[str, Any]) -> None:
    for seed in range(3):
        out = f"{tiny['out']}-{seed}"
        run = nas.search(**tiny | {"trials": 1, "max_latency": "1.0x", "seed": seed, "out": out})
        assert run.trials[0].result.state is TrialState.COMPLETE
        assert run.trials[0].feasible


def test_an_exhausted_space_says_so(tiny: dict[str, Any]) -> None:
    settings = tiny | {"operators": ["add", "concat"], "points": ["layer3"], "trials": 5, "train_images": 128}
    run = nas.search(**settings)
    assert len(run.view.complete) == 2
    assert run.view.finished
    assert "complete, 2 of 5" in nas_program("status", run.path).stdout
    assert len(nas.search(**settings).trials) == 2


def test_natural_python_values_are_settings_too(tiny: dict[str, Any], tmp_path: Path) -> None:
    run = nas.search(**tiny | {"trials": 1, "out": tmp_path / "path", "operators": ("add", "se")})
    assert run.view.config["operators"] == ["add", "se"]


def test_a_run_on_a_read_only_disk_can_be_read(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frozen"
    shutil.copytree(finished, folder)
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this kernel does not mount read-only")
        assert nas_program("status", folder).returncode == 0
        assert nas_program("show", folder, "best").returncode == 0
    finally:
        subprocess.run(["umount", folder], check=True)


def test_names_with_brackets_are_shown_as_they_are(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "w[bold]y[/x]"
    shutil.copytree(finished, folder)
    with Store.open_for_writing(folder / "study.db") as store:
        last = store.results()[-1]
        failed = dataclasses.replace(
            last, number=last.number + 1, state=TrialState.FAILED, error="[enforce fail at alloc.cpp:117] [/x]",
            score=None, latency=None,
        )  # fmt: skip
        store.append(failed)
    monkeypatch.setenv("COLUMNS", "200")
    assert "w[bold]y[/x]: " in nas_program("status", folder).stdout
    assert "[enforce fail at alloc.cpp:117] [/x]" in nas_program("show", folder).stdout


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_choices_are_shown_on_every_width(finished: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = nas_program("show", finished).stdout
    assert "cbam/4" in shown
    assert "complete" in shown


def test_two_searches_do_not_share_a_folder(finished: Path) -> None:
    with Store.open_for_writing(finished / "study.db"):
        config = nas.open_run(finished).view.config
        settings = {k: v for k, v in config.items() if v is not None} | {"trials": 7}
        with pytest.raises(StoreError, match="is being searched by process"):
            nas.search(**settings, extend=True)


def test_a_failed_worker_counts_and_a_stopped_one_is_run_again(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    with Store.open_for_writing(folder / "study.db") as store:
        last = store.results()[-1]
        free = dataclasses.replace(
            last, number=last.number + 1, state=TrialState.STOPPED, score=None, loss=None, latency=None,
            architecture=_unseen(store),
        )  # fmt: skip
        store.append(free)
    config = nas.open_run(folder).view.config
    settings = {k: v for k, v in config.items() if v is not None} | {"trials": 7, "out": str(folder)}
    again = nas.search(**settings, extend=True)
    assert again.trials[-1].result.number == free.number
    assert again.trials[-1].result.architecture == free.architecture
    assert again.trials[-1].result.state is TrialState.COMPLETE


def _unseen(store: Store):
    from search_spaces import SearchSpace

    space = SearchSpace.from_json(store.get("description")["space"])
    known = {r.architecture.key for r in store.results()}
    return next(a for a in space.neighbours(space.baseline) if a.key not in known)
