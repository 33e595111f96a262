"""Ray Tune runs the trials: a searcher that holds our driver, and warm actors that are reused.

The only package that imports ray.
"""

from __future__ import annotations

import os

# Before ray is imported: our own progress is what people see, and our own record what is kept.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000")  # our searcher hands out no more than there is room for
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # `--space net.py:MODEL` is relative to where the search began

from nas.engines.ray_tune.engine import RayEngine

__all__ = ["RayEngine"]
