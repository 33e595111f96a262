"""A user's own weights of the all-add network: a .safetensors file, or a .pt file that holds tensors alone."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from search_spaces.space import SearchSpace
from trials.errors import CheckpointError

#: Under which training loops put the weights when they keep more beside them: averaged ones first, which are better.
_UNDER = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "net")
#: What wrappers put before every name: parallel training, the compiler, Lightning's modules, averaging.
_WRAPPED = ("module.", "_orig_mod.", "model.", "net.", "network.")
#: How a file begins that only points to the weights, in a store of large files.
_POINTER = b"version https://git-lfs"


def read_checkpoint(path: Path, space: SearchSpace) -> dict[str, torch.Tensor]:
    """The weights and running statistics of the space's all-add network, in its own types.

    Raises:
        CheckpointError: no such file, not readable without running code from it, or of another network: the first
            weight that is missing, superfluous, of another shape or not finite.
    """
    with torch.random.fork_rng(devices=[]):
        wanted = space.build(space.baseline).state_dict()
    given = _tensors(path, _content(path), wanted)
    # Older checkpoints lack the counters; they matter only to norms without a momentum.
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    if missing:
        raise CheckpointError(f"{path} lacks the weight {missing[0]!r} of {space.name} with add everywhere; {_MEND}")
    extra = [name for name in given if name not in wanted]
    if extra:
        raise CheckpointError(
            f"{path} has the weight {extra[0]!r}, but {space.name} with add everywhere has none; {_MEND}"
        )
    for name, tensor in given.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"has shape {list(tensor.shape)}, but {space.name} has {list(wanted[name].shape)}"
            raise CheckpointError(f"{path}: {name!r} {shapes} for these images and classes; {_MEND}")
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name!r} holds values that are not finite; give weights that are trained")
    return {name: given.get(name, tensor).to(tensor.dtype).contiguous() for name, tensor in wanted.items()}


_MEND = "give the weights of that network"


def _content(path: Path) -> Any:
    if path.suffix not in (".safetensors", ".pt", ".pth", ".ckpt", ".bin"):
        raise CheckpointError(
            f"{path} is no checkpoint by its name; give a .safetensors, .pt, .pth, .ckpt or .bin file"
        )
    if _is_pointer(path):
        raise CheckpointError(
            f"{path} is a pointer to a file of a large-file store, not the weights: fetch them (git lfs pull)"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # Of pickles that it may not be able to read: whether it was is said below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give the path of a checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors, and would run code when it is read; save model.state_dict() instead"
        ) from None
    except (SafetensorError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is damaged or no checkpoint ({reason[:120]}); give another file") from None


def _is_pointer(path: Path) -> bool:
    """Whether there is such a file and it begins as pointers do; what cannot be opened is said by who reads it."""
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def _tensors(path: Path, content: Any, wanted: Collection[str]) -> dict[str, torch.Tensor]:
    """The state in it, taken out of what training loops keep beside it."""
    for key in _UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no mapping of names to tensors; save model.state_dict()")
    named = {str(name): tensor for name, tensor in content.items() if str(name) not in _COUNTERS}
    while (wrapper := next((one for one in _WRAPPED if _all_begin_with(one, named, wanted)), None)) is not None:
        named = {name.removeprefix(wrapper): tensor for name, tensor in named.items()}
    return named


#: What `torch.optim.swa_utils.AveragedModel` keeps beside its module.
_COUNTERS = ("n_averaged",)


def _all_begin_with(prefix: str, names: Collection[str], wanted: Collection[str]) -> bool:
    """Whether a prefix is a wrapper's: every name has it, and the network's own have not."""
    return bool(names) and all(n.startswith(prefix) for n in names) and not any(n.startswith(prefix) for n in wanted)
