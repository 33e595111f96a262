"""Every setting once: what its field says is what options, docs and a run that goes on take it for."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Annotated, Any

import pytest

from nas.cli.main import commands
from nas.settings.errors import ConfigError
from nas.settings.keys import _declared, all_keys, role_of
from nas.settings.kinds import SceneSearchConfig
from nas.settings.loading import load_config, read_assignment
from nas.settings.search import SearchConfig
from nas.settings.sections import FusionSection, Section
from nas.settings.setting import Role, Setting
from nas.settings.table import settings_table
from search_spaces import FusionSettings
from tools import write_settings
from trials.trial import Recipe


def test_every_setting_of_every_kind_of_search_is_there_with_its_default() -> None:
    for config, kind in ((SearchConfig(), "classifiers"), (SceneSearchConfig(), "scenes")):
        flat: dict[str, Any] = {}
        for name, value in config:
            if isinstance(value, Section):
                flat |= {f"{name}.{inner}": part for inner, part in value}
            else:
                flat[name] = value
        found = {name: getattr(key, kind) for name, key in all_keys().items() if getattr(key, kind) is not None}
        settled = {"training.parent_epochs": found["training.parent_epochs"]}  # by those of a trial
        assert {name: (value,) for name, value in flat.items()} | settled == found


def test_what_may_change_in_a_run_that_goes_on() -> None:
    by_role = {role: {name for name, key in all_keys().items() if key.setting.role is role} for role in Role}
    assert by_role[Role.EXTEND] == {
        "trials", "max_flops", "max_params", "max_latency", "minimum", "latency_profile", "objectives", "sampler",
        "prior", "from_runs", "training.trial_timeout",
    }  # fmt: skip
    assert by_role[Role.CIRCUMSTANCE] == {
        "engine", "workers", "device", "out", "export", "data_dir", "data_memory", "noise_seeds", "latency.screen",
        "ray.address", "ray.ship_data", "storage",
        "ray.cpus_per_trial", "ray.gpus_per_trial", "finalists", "finalist_seeds", "finalist_max_seeds",
        "max_hours", "max_gpu_hours", "max_trials", "early_stop", "backup", "backup_minutes", "log",
    }  # fmt: skip
    assert role_of("minimum.ap") is Role.EXTEND
    assert role_of("training.of_another_version") is Role.FIXED


def test_a_subclass_says_again_only_what_is_other() -> None:
    class Base(Section):
        said: Annotated[int, Setting("Said.")] = 1
        silent: int = 1

    class Other(Base):
        said: int = 2

    assert _declared(Other, "said").help == "Said."
    with pytest.raises(LookupError, match=r"Other\.silent says nothing of itself"):
        _declared(Other, "silent")


def test_operators_are_made_as_search_spaces_makes_them() -> None:
    assert FusionSettings(**FusionSection().model_dump()) == FusionSettings()


def test_the_docs_have_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_table() in write_settings.PAGE.read_text(encoding="utf-8"), "python -m tools.write_settings"
    for arguments, code in ((["--check"], 0), (["--chek"], 2)):
        monkeypatch.setattr("sys.argv", ["write_settings", *arguments])
        assert write_settings.main() == code
    assert "given --chek; expected nothing or --check" in capsys.readouterr().err


def test_the_table_is_put_between_its_marks() -> None:
    page = "before\n<!-- settings: generated -->\nold\n<!-- /settings -->\nafter\n"
    written = write_settings.with_table(page)
    assert written.startswith("before\n<!-- settings: generated -->\n| key |")
    assert written.endswith("|\n<!-- /settings -->\nafter\n")
    assert write_settings.with_table(written) == written


def test_options_are_those_of_the_fields() -> None:
    made = {o.opts[0]: o for o in commands.commands["search"].params if o.param_type_name == "option"}
    for key in all_keys().values():
        if key.setting.option is None:
            assert f"--{key.name.rpartition('.')[2].replace('_', '-')}" not in made or key.name.startswith("latency.")
            continue
        text = made[key.setting.option].help
        assert text is not None
        assert text.startswith(key.help)
        assert "{" not in text
    assert f"[default: {Recipe.epochs}; scenes 4]" in (made["--epochs"].help or "")
    assert (made["--operators"].help or "").endswith("[default: add,concat,se,cbam,aff,iaff]")
    assert "ehvi, tpe, nsga2, evolution or random" in (made["--sampler"].help or "")
    assert (made["--max-flops"].help or "").endswith("baseline.")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("training.peak_lr=0.1", "training.peak_lr", 0.1),
        ("training.flip = false", "training.flip", False),
        ("trials=3", "trials", 3),
        ("space=resnet20", "space", "resnet20"),
        ('space="resnet20"', "space", "resnet20"),
        ("out=2024-01-01", "out", "2024-01-01"),
        ("operators=add,se", "operators", ["add", "se"]),
        ('operators=["add", "se"]', "operators", ["add", "se"]),
        ("reductions=4", "reductions", [4]),
        ("minimum=ap=0.2,ap_small=0.1", "minimum", {"ap": 0.2, "ap_small": 0.1}),
        ("minimum={ap = 0.2}", "minimum", {"ap": 0.2}),
        ("max_flops=1.05x", "max_flops", "1.05x"),
        ("max_flops=none", "max_flops", None),
        ("tie=none", "tie", "none"),
        ("trials=3\nspace='x'", "trials", "3\nspace='x'"),
        ("trials=" + "[" * 5000, "trials", "[" * 5000),
    ],
)
def test_an_assignment_is_toml_or_a_line(text: str, key: str, value: Any) -> None:
    assert read_assignment(text) == (key, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials", "--set trials: expected KEY=VALUE, such as training.peak_lr=0.1"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("peak_lr=1", "--set peak_lr: unknown key; did you mean 'training.peak_lr'?"),
        ("training.peak_lrr=1", "did you mean 'training.peak_lr'?"),
        ("trails=1", "did you mean 'trials'?"),
        ("training.qqqq=1", "--set training.qqqq: unknown key; docs/settings.md lists all of them"),
        ("traning.epochs=1", "did you mean 'training.epochs'?"),
        ("batch_size=1", "did you mean 'training.batch_size'?"),
        ("training=3", "--set training: it is a table; give one of its keys, such as training.epochs=3"),
        ("reductions=4,x", "--set reductions: given '4,x'; expected whole numbers such as 4,8,16"),
        ("minimum=ap", "--set minimum: given 'ap'; expected figures and numbers"),
    ],
)
def test_an_assignment_that_cannot_be_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_assignment(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_is_named_as_it_was_given() -> None:
    given = {"minimum": {"accuracy": 2.0}}
    with pytest.raises(ConfigError, match=r"^--min accuracy: given 2\.0; "):
        load_config(None, given)
    with pytest.raises(ConfigError, match=r"^training\.momentum: given 2\.0; "):
        load_config(None, {"training.momentum": 2.0})
    with pytest.raises(ConfigError, match=r"^--set training\.epochs: given 0; "):
        load_config(None, {"training.epochs": 0}, {"training.epochs": "--set training.epochs"})


def test_operators_that_one_believes_in_are_on_offer_and_have_weights() -> None:
    believing = {"sampler": "ehvi"}
    assert load_config(None, {**believing, "prior": "cbam=3, aff"}).beliefs == {"cbam": 3.0, "aff": 2.0}
    assert load_config(None, {}).beliefs == {}
    for prior, message in {
        "cban": r"^--prior: .*'cban' is none of the operators add, .*; did you mean 'cbam'\?$",
        "cbam=0": r"^--prior: .*'cbam=0': expected operators and weights above 0, such as cbam=3,aff$",
        "cbam=x": r"^--prior: .*'cbam=x': expected operators and weights above 0",
        "=2": r"^--prior: .*'=2': expected operators",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load_config(None, {**believing, "prior": prior})
    with pytest.raises(ConfigError, match="'aff' is none of the operators add, se"):
        load_config(None, {**believing, "operators": ["add", "se"], "prior": "aff"})
    with pytest.raises(ConfigError, match="prior is aff, but sampler tpe heeds none: use ehvi"):
        load_config(None, {"prior": "aff", "sampler": "tpe"})


def test_the_settings_are_read_without_torch() -> None:
    program = (
        "import sys\nimport nas.settings.changes, nas.settings.table\n"
        "sys.exit(bool({'torch', 'ray', 'optuna', 'sqlalchemy', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_help_stands_under_headings_by_purpose() -> None:
    from click.testing import CliRunner

    text = CliRunner().invoke(commands, ["search", "--help"]).output
    headings = re.findall(r"^([A-Z].*):$", text, flags=re.MULTILINE)
    assert headings == [
        "What is searched", "Data", "Search", "What the search may take", "Objectives and budgets", "Training",
        "Where it runs", "Options",
    ]  # fmt: skip
    program = CliRunner().invoke(commands, ["--help"]).output
    assert all(re.search(rf"^  {name}  +\S", program, flags=re.MULTILINE) for name in commands.commands)
    assert "..." not in program.replace("[ARGS]...", "")
