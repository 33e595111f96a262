"""Writes model.tflite from an exported model.py, in an environment that has litert-torch and not us: `python -I -B
litert_conversion.py ISOLATED.PY MODEL.PY MODEL.TFLITE C H W`, where ISOLATED.PY is that file of ours."""

from __future__ import annotations

import importlib
import runpy
import sys

import torch


def main() -> None:
    """Ends with the reason as the last line of stderr, and exit code 1, where it cannot."""
    helper, model, target, *sides = sys.argv[1:]
    litert_torch = importlib.import_module("litert_torch")
    network, _ = runpy.run_path(helper)["source"]({"model": model, "compiled": None})
    try:
        converted = litert_torch.convert(network.eval(), (torch.zeros(1, *map(int, sides)),))
        converted.export(target)
    except Exception as error:  # whatever it meets
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        sys.exit(f"{type(error).__name__}: {lines[0] if lines else ''}")


if __name__ == "__main__":
    main()
