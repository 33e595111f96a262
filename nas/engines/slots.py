"""How many trials would run side by side, told without starting an engine: for estimates of what has not begun."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nas.engines.engine import open_engine
from nas.engines.interruption import Interruption
from nas.settings.search import SearchConfig
from trials.cores import cores
from trials.machine.device import resolve


def expected_workers(config: SearchConfig, say: Callable[[str], None] = lambda line: None) -> int:
    """As an engine of this configuration would have: by the slots of this machine's cores and GPUs that a trial takes,
    or of the cluster's, which is asked. Raises ConfigError where that does not answer."""
    if config.workers is not None:
        return config.workers
    if config.engine == "local":
        return 1
    if config.ray.address is not None:
        with open_engine(config, Interruption(), say) as engine:
            return engine.workers
    gpus = torch.cuda.device_count() if resolve(config.device).type == "cuda" else 0
    share = config.ray.gpus_per_trial
    share = (1.0 if gpus else 0.0) if share is None else share
    slots = [int(cores() / config.ray.cpus_per_trial), *([int(gpus / share)] if share else [])]
    return max(1, min(slots))
