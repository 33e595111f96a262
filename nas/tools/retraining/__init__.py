"""An exported architecture trained for real: as long as it takes, in several processes, going on where it was.

source (an export, or a run's trial) ── Retraining ── loop ──> weights ── nas.export ──> the export anew
"""

from nas.tools.retraining.retrain import retrain

__all__ = ["retrain"]
