"""Long searches whose trainings cost nothing, beside Optuna's storage: `python -m benchmarks scale`."""

from benchmarks.scale.scale import main as main
