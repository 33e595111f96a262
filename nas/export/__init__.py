"""From a trained candidate to something that can be deployed without this package.

    TrainedNetwork ── export_network ─> OUT/ arch.json, weights, artefacts (a file of `formats` each), parity.json, card
    validation_of(data): the split on which what was exported is compared with what was recorded
    verifying.verify(OUT): is it still that · probing.left_out(space): what will not be made, before anything is trained

Importing this imports torch: the command line does so only when it exports.
"""

from nas.export.errors import ExportError
from nas.export.exporting import export_network
from nas.export.trained import TrainedNetwork
from nas.export.validation import ClassifiedImages, Validation, ValidationScenes, validation_of

__all__ = [
    "ClassifiedImages",
    "ExportError",
    "TrainedNetwork",
    "Validation",
    "ValidationScenes",
    "export_network",
    "validation_of",
]
