"""checkpoint file <-> state dict, without running code that the file carries.

safetensors is raw bytes with a JSON header. `.pt`, `.pth` and `.th` files are pickles: they go through the restricted
unpickler of `torch.load(weights_only=True)`, and a file that needs more than tensors is refused unless it is trusted.

Source: safetensors format specification; torch.load documentation, "weights_only Unpickler".
"""

from __future__ import annotations

import difflib
import pickle
import pickletools
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from deploycompress.errors import CheckpointRejectedError, UsageError
from deploycompress.records.files import atomic

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PARALLEL_PREFIX = "module."
_LISTED = 3


def save(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Writes a state dict as safetensors, atomically.

    Raises:
        EnvironmentLacksError: The place cannot be written.
    """
    # safetensors refuses tensors that share memory (tied weights); the format stores each under its own name.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with atomic(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask gives; safetensors would shut out everybody but the owner
        safetensors.torch.save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod(mode)


def load(path: Path, *, trust: bool = False) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, on the CPU; `{"state_dict": ...}` and a common "module." prefix are taken off.

    Args:
        path: `.safetensors`, or a file of torch.save.
        trust: Run the code that a pickle carries. Only for files you made yourself.

    Raises:
        UsageError: There is no such file.
        CheckpointRejectedError: Damaged, not a checkpoint, or it needs unpickling of more than tensors.
    """
    _reject_what_is_no_checkpoint(path)
    if path.suffix == ".safetensors":
        try:
            return _without_prefix(safetensors.torch.load_file(path))
        except SafetensorError as error:
            raise CheckpointRejectedError(
                f"it is truncated or damaged ({error})", where=str(path), remedy="download or copy it again"
            ) from error
    loaded = unpickle(path, trust=trust)
    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    if not isinstance(loaded, Mapping):
        raise CheckpointRejectedError(f"it holds a {type(loaded).__name__}, not a state dict", where=str(path))
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    odd = [str(name) for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if odd or not loaded:
        raise CheckpointRejectedError(
            f"it holds no state dict (not tensors: {_listed(odd)})" if odd else "its state dict is empty",
            where=str(path),
            remedy="save model.state_dict()",
        )
    return _without_prefix({str(name): value for name, value in loaded.items()})


def load_into(module: torch.nn.Module, path: Path, *, trust: bool = False, fresh: Iterable[str] = ()) -> None:
    """Loads a checkpoint into `module`; every name and shape must match, but for the submodules that stay `fresh`.

    Raises:
        UsageError: There is no such file.
        CheckpointRejectedError: As `load`, or names or shapes differ; the nearest names are listed.
    """
    state, own = load(path, trust=trust), module.state_dict()
    kept_as_made = tuple(f"{name}." for name in fresh)
    if kept_as_made:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(kept_as_made)}
        state |= {name: tensor for name, tensor in own.items() if name.startswith(kept_as_made)}
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    faults = []
    if missing:
        faults.append(f"it lacks {len(missing)} of the model's tensors: {_listed(missing)}")
    if unexpected:
        faults.append(f"it has {len(unexpected)} the model lacks: {_nearest(unexpected, missing or own)}")
    misshapen = [
        f"{name} is {tuple(state[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    if misshapen:
        faults.append(f"{len(misshapen)} shapes differ: {_listed(sorted(misshapen))}")
    if faults:
        raise CheckpointRejectedError(
            f"it does not fit {type(module).__name__}: {'; '.join(faults)}",
            where=str(path),
            remedy="name the factory the checkpoint was trained with",
        )
    module.load_state_dict(state)


def _reject_what_is_no_checkpoint(path: Path) -> None:
    """Names the files people mistake for checkpoints, before a parser gets to see them."""
    if not path.is_file():
        raise UsageError("there is no such checkpoint", where=str(path))
    with path.open("rb") as file:
        head = file.read(512)
    start = head.lstrip().lower()
    if not head:
        raise CheckpointRejectedError("the file is empty", where=str(path), remedy="download or copy it again")
    if head.startswith(b"version https://git-lfs.github.com/spec"):
        raise CheckpointRejectedError(
            "it is a Git LFS pointer, not the checkpoint", where=str(path), remedy="run git lfs pull"
        )
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise CheckpointRejectedError(
            "it is a web page, not a checkpoint", where=str(path), remedy="download the file itself"
        )


def unpickle(path: Path, *, trust: bool = False) -> Any:  # noqa: ANN401 - a pickle holds anything
    """What a file of torch.save holds; refused where reading it would run code. Raises as `load`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on unusual pickle protocols; what matters is whether it loads
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL\s+([\w.]+)", str(error))
        called = found.group(1) if found else _first_global(path)
        if called is None:
            raise CheckpointRejectedError(
                "it is truncated, damaged, or not a checkpoint", where=str(path), remedy="copy it again"
            ) from error
        raise CheckpointRejectedError(
            f"reading it would execute {called}",
            where=str(path),
            remedy="save the state dict as safetensors, or pass --trust-checkpoint if you made the file",
        ) from error
    except Exception as error:  # damaged bytes make the unpickler fail in any way: IndexError, struct.error ...
        raise CheckpointRejectedError(
            f"torch cannot read it: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=str(path),
        ) from error


def _first_global(path: Path) -> str | None:
    """The first function or class a plain pickle names, read without executing it; None where it is no pickle."""
    words: list[str] = []
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if opcode.name == "STACK_GLOBAL":
                    return ".".join(words[-2:])
                if isinstance(argument, str):
                    words.append(argument)
    except (ValueError, EOFError, UnicodeDecodeError):
        return None
    return None


def _without_prefix(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if all(name.startswith(_PARALLEL_PREFIX) for name in state):
        return {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in state.items()}
    return state


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _nearest(names: list[str], known: Iterable[str]) -> str:
    known = list(known)
    near = [(name, difflib.get_close_matches(name, known, n=1, cutoff=0.6)) for name in names]
    return _listed([f"{name} (nearest: {match[0]})" if match else name for name, match in near])
