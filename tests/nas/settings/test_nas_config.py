from __future__ import annotations

from pathlib import Path

import pytest

from nas.settings.changes import differences
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config, read_assignment, read_config
from nas.settings.rungs import planned_looks
from nas.settings.search import SearchConfig


def write(folder: Path, text: str) -> Path:
    path = folder / "search.toml"
    path.write_text(text)
    return path


def test_options_override_the_file_and_the_file_overrides_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'space = "resnet20"\ntrials = 5\n[training]\nepochs = 7\nbatch_size = 32\n')
    config = load_config(path, {"trials": 9, "training.epochs": 2})
    assert (config.space, config.trials) == ("resnet20", 9)
    assert (config.training.epochs, config.training.batch_size, config.training.momentum) == (2, 32, 0.9)


def test_examples_are_valid() -> None:
    for path in Path("examples").glob("*.toml"):
        assert load_config(path, {}).out.startswith("runs/")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("trails = 3", ["search.toml: trails", "given 3", "did you mean 'trials'", "known keys are task, space"]),
        ("[training]\nepoch = 3", ["search.toml: training.epoch", "did you mean 'epochs'"]),
        ('trials = "many"', ["search.toml: trials", "given 'many'", "integer"]),
        ("trials = 0", ["search.toml: trials", "given 0", "greater than or equal to 1"]),
        ("trials = 2.5", ["search.toml: trials", "given 2.5"]),
        ("trials = true", ["search.toml: trials", "given True"]),
        ("reductions = [4, 0]", ["search.toml: reductions", "given 0"]),
        ("reductions = [4, -8]", ["search.toml: reductions", "given -8"]),
        ('engine = "rey"', ["engine", "'ray' or 'local'", "did you mean 'ray'"]),
        ('objectives = ["macs"]', ["objectives", "accuracy"]),
        ('objectives = ["accuracy", "accuracy"]', ["objectives", "once"]),
        ('data = "cifar"', ["search.toml: data", "cifar10"]),
        ('max_flops = "lots"', ["search.toml: max_flops", "'lots'", "40M"]),
        ('max_latency = "-3ms"', ["search.toml: max_latency", "3ms"]),
        ("training = 3", ["search.toml: training", "given 3"]),
        ('engine = "local"\nworkers = 2', ["workers is 2", "local"]),
        ("[training]\npeak_lr = nan", ["training.peak_lr", "finite"]),
        ("rungs = [9, 3]", ["search.toml: rungs: given 9,3; each is to have more epochs than the one before"]),
        ("rungs = [3, 3]", ["search.toml: rungs: given 3,3; each is to have more epochs"]),
        (
            "rungs = [3]",
            ["search.toml: rungs: given 3; expected two or more numbers of epochs, such as 3,9,27, or none"],
        ),
        ("rungs = [0, 3]", ["search.toml: rungs: given 0,3;"]),
        ("rungs = []", ["search.toml: rungs: given []; expected two or more"]),
        ('rungs = "some"', ["search.toml: rungs: given 'some'; expected two or more"]),
        ("rungs = [3, 9]\n[training]\nepochs = 4", ["rungs begins with 3 epochs, but training.epochs is 4: give one"]),
        ("space = \n", ["search.toml: not valid TOML", "line 1"]),
    ],
)
def test_a_bad_file_is_one_line_that_says_where_and_how(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), {})
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_bad_option_is_named_as_the_option_it_was() -> None:
    with pytest.raises(ConfigError, match=r"^--epochs: given 0;"):
        load_config(None, {"training.epochs": 0})
    with pytest.raises(ConfigError, match=r"^--trials: given 0;"):
        load_config(None, {"trials": 0})


def test_the_first_rung_is_what_trials_train_for() -> None:
    for given in ({"rungs": [2, 6, 18]}, {"rungs": [2, 6, 18], "training.epochs": 2}):
        config = load_config(None, given)
        assert (config.training.epochs, config.rung_epochs) == (2, (2, 6, 18))
        assert read_config(config.to_json()) == config
    assert load_config(None, {"rungs": "none", "training.epochs": 5}).rung_epochs == (5,)
    assert load_config(None, {"task": "detection", "rungs": [2, 4]}).training.epochs == 2
    assert read_assignment("rungs=2,6") == read_assignment("rungs=[2,6]") == ("rungs", [2, 6])
    assert read_assignment("rungs=none") == ("rungs", "none")
    with pytest.raises(ConfigError, match=r"--set rungs: given '2,x'; expected whole numbers such as 3,9,27, or none"):
        read_assignment("rungs=2,x")


def test_rungs_take_about_as_much_each() -> None:
    assert planned_looks((3, 9, 27), 28) == (28, 10, 4)
    assert planned_looks((3, 9, 27), 3) == (3, 2, 2), "at least one comes to each, all-add beside it"
    assert planned_looks((3, 9), 1) == (1, 0)
    assert planned_looks((3,), 7) == (7,)


def test_a_missing_file_and_one_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nothing.toml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


def test_differences_leave_out_what_does_not_decide_the_result() -> None:
    old = SearchConfig().to_json()
    same = SearchConfig(engine="local", out="elsewhere", export="best", device="cpu").to_json()
    assert differences(old, same) == {}
    other = load_config(None, {"trials": 21, "training.epochs": 4}).to_json()
    assert differences(old, other) == {
        "trials": (None, 21),
        "training.epochs": (3, 4),
        "training.parent_epochs": (12, 16),  # what trials inherit is trained in proportion
    }


def test_a_configuration_survives_its_json() -> None:
    config = load_config(None, {"max_flops": "1.05x", "training.epochs": 2, "operators": ["add", "se"]})
    assert SearchConfig.model_validate(config.to_json()) == config


@pytest.mark.parametrize("text", ["", "10", "0s", "-1m", "ten minutes"])
def test_a_trial_timeout_is_a_time(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--trial-timeout: given .*; expected a time such as 90min, 2h or 1\.5d"):
        load_config(None, {"training.trial_timeout": text})
    assert load_config(None, {"training.trial_timeout": "10m"}).training.timeout_seconds == 600


def test_what_an_older_record_lacks_was_as_it_is_by_default() -> None:
    given = SearchConfig().to_json()
    old = {key: value for key, value in given.items() if key != "data_errors"}
    old["training"] = {key: value for key, value in given["training"].items() if key != "cutout"}
    assert differences(old, given) == {}
    given["training"] = given["training"] | {"cutout": 8}
    assert differences(old, given) == {"training.cutout": (0, 8)}
