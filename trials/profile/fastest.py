"""The architecture of a space that a device profile predicts to be fastest."""

from __future__ import annotations

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.profile.device_profile import DeviceProfile


def fastest_predicted(space: SearchSpace, profile: DeviceProfile) -> Architecture:
    """From all-add, one variable after the other to its fastest choice, until none is left to change.

    Effects of neighbouring points are small beside those of the choices themselves: what this ends at is the
    fastest up to them.
    """
    best = space.baseline
    best_ms = profile.predict_ms(best)
    improved = True
    while improved:
        improved = False
        for neighbour in space.neighbours(best):
            predicted = profile.predict_ms(neighbour)
            if predicted < best_ms - 1e-12:
                best, best_ms, improved = neighbour, predicted, True
                break
    return best
