"""Configurations nobody would write, and some that somebody has: each is taken whole or refused in one line.

python -m tests.fuzz.configurations --count 2000 --seed 0
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from nas.settings.changes import differences
from nas.settings.keys import Key, all_keys
from nas.settings.loading import load_config, read_assignment, read_config
from nas.trainings.prepared import prepare
from search_spaces.errors import UserError

#: Values of no particular setting, some of them of none.
_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**63, -(2**70), 10**400, 0.0, -0.0, 0.5, 1e-300, 1e300, float("nan"),
    float("inf"), "", " ", "0", "1.05x", "1.0x", "0x", "-3ms", "1e3M", "40M", "3 ms", "nan", "inf", "none", "add",
    "ädd", "a" * 5000, "\x00", "\n", "🦊", "../..", "/", "~", "~nobody", "folder:", "folder:.", "folder:/nowhere",
    "coco:/nowhere", "net.py:Net", "net.py:", ".py:", "torchvision:", "torchvision:resnet18", "{0.__class__}", "[red]",
    [], [None], [[]], ["add"], ["add", "add"], ["se"], ["add", "sé"], ["add", 3], [4, 8], [0], [-4], [4.5], [10**30],
    {}, "folder:~nobody/x", "a\x00b", "~nobody/net.py:Net", {"accuracy": 0.5}, {"accuracy": 2}, {"": 1},
    {"a": {"b": {}}},
)  # fmt: skip
_COMMON = ("space", "operators", "data", "task", "objectives", "max_flops", "trials", "training.epochs")


def configuration(rng: random.Random) -> dict[str, Any]:
    """Flat keys and values: a few of them odd, of another setting, or misspelt."""
    keys = all_keys()
    chosen = rng.sample(sorted(keys), rng.randint(0, 3)) + rng.sample(_COMMON, rng.randint(0, 2))
    found: dict[str, Any] = {}
    for name in chosen:
        if rng.random() < 0.05:
            name = _misspelt(name, rng)
        found[name] = _value(keys.get(name), rng)
    return found


def _misspelt(name: str, rng: random.Random) -> str:
    place = rng.randrange(len(name))
    return rng.choice(
        (name[:place] + name[place + 1 :], name[:place] + rng.choice("._- x") + name[place:], name.upper())
    )


def _value(key: Key | None, rng: random.Random) -> Any:
    if key is None or rng.random() < 0.2:
        return rng.choice(_ODD)
    if key.choices and rng.random() < 0.8:
        return rng.choice(key.choices)
    default = (key.classifiers or key.scenes or (None,))[0]
    if key.shape == "whole number":
        return rng.choice((default, rng.randint(-2, 40), str(rng.randint(1, 9))))
    if key.shape == "number":
        return rng.choice((default, rng.uniform(-0.5, 2), 10 ** rng.uniform(-9, 9)))
    if key.name == "space":
        return rng.choice(("resnet8", "resnet20", "resnet8-fpn", "resnet8-fpn-fcos", "resnet8-fpn-semantic", "resnet9"))
    if key.name.startswith("max_"):
        return rng.choice(("1.05x", "0.9x", "40M", "3ms", "0.5M", "2x", "1e9", "12"))
    if key.name == "operators":
        return rng.sample(("add", "concat", "se", "cbam", "aff", "iaff", "sk", "gate"), rng.randint(1, 5))
    return rng.choice((default, rng.choice(_ODD)))


class Fault(Exception):
    """What no configuration may do; with the configuration that did."""


def tried(settings: dict[str, Any], rng: random.Random, prepared: bool) -> str:
    """What became of it. Raises Fault for anything but a configuration that is one, or one line."""
    try:
        if rng.random() < 0.3:
            config = _from_lines(settings, rng)
        else:
            config = load_config(None, json.loads(json.dumps(settings)) if _is_json(settings) else settings)
        recorded = json.loads(json.dumps(config.to_json(), allow_nan=False))
        again = read_config(recorded)
        if again.to_json() != config.to_json() or differences(recorded, again.to_json()):
            raise Fault(f"another configuration when it is read again: {settings!r}")
        if prepared:
            small = {"train_images": 64, "data": "fashion-mnist-mini"} if config.task == "classification" else {}
            if not config.data.partition(":")[2] or config.data.startswith("/nowhere"):
                prepare(config.model_copy(update=small))
                return "prepared"
        return "read"
    except UserError as error:
        if "\n" in str(error) or len(str(error)) > 1500:
            raise Fault(f"more than a line: {settings!r}: {error}") from error
        return type(error).__name__
    except Fault:
        raise
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {error}: {settings!r}") from error


def _is_json(settings: dict[str, Any]) -> bool:
    try:
        return json.loads(json.dumps(settings, allow_nan=False)) == settings
    except ValueError:
        return False


def _from_lines(settings: dict[str, Any], rng: random.Random) -> Any:
    """As `--set` or as a file of TOML would give them."""
    if rng.random() < 0.5:
        return load_config(None, dict(read_assignment(f"{key}={_toml(value)}") for key, value in settings.items()))
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in settings.items())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "search.toml"
        file.write_bytes(text.encode(errors="replace") if rng.random() < 0.9 else text.encode("utf-16"))
        return load_config(file, {})


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def run(count: int, seed: int, seconds: float | None = None) -> Counter[str]:
    """Outcomes by kind. A third of the configurations are held against their data and space as well."""
    outcomes: Counter[str] = Counter()
    end = None if seconds is None else time.monotonic() + seconds
    for number in range(count):
        if end is not None and time.monotonic() > end:
            break
        rng = random.Random(f"{seed}/{number}")
        try:
            outcomes[tried(configuration(rng), rng, prepared=number % 3 == 0)] += 1
        except Fault as fault:
            outcomes["FAULT"] += 1
            print(f"seed {seed}, number {number}: {fault}"[:1000])
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    outcomes = run(options.count, options.seed)
    print(
        f"{sum(outcomes.values())} configurations in {time.monotonic() - began:.0f} s: {dict(outcomes.most_common())}"
    )


if __name__ == "__main__":
    main()
