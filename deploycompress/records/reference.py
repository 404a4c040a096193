"""`module:function` or `path/file.py:function` -> the object of that name.

The module or file is executed as Python would execute a script of the user's: its folder (for a module: `base`, or the
working folder) is importable while it runs. Only ever resolve what the user named.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from deploycompress.errors import (
    DeployCompressError,
    EnvironmentLacksError,
    MissingExtraError,
    UnknownNameError,
    UsageError,
)

_EXTRAS = {"torch": "train", "accelerate": "train", "safetensors": "train", "sklearn": "train", "transformers": "hf"}


def is_reference(text: str) -> bool:
    """Whether `text` has the form of a reference: `file.py:name`, or dotted identifiers on both sides of one colon."""
    place, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        return False
    return place.endswith(".py") or all(part.isidentifier() for part in place.split("."))


def resolve(reference: str, *, base: Path | None = None) -> Any:  # noqa: ANN401 - it is whatever the user wrote
    """The object that `reference` names.

    Args:
        reference: `module:function` or `path/file.py:function`.
        base: Folder that relative paths and modules are looked up from; the working folder by default.

    Raises:
        UsageError: Not of that form, no such file or module, or importing it fails.
        UnknownNameError: The module has no such name; the nearest names are listed.
        MissingExtraError: It imports a package of one of our extras that is absent.
        EnvironmentLacksError: It imports any other package that is absent.
    """
    if not is_reference(reference):
        raise UsageError(f"{reference!r} is not a reference", remedy="write module:function or path/file.py:function")
    place, _, name = reference.rpartition(":")
    folder = Path.cwd() if base is None else base
    module = _from_file(folder / place, reference) if place.endswith(".py") else _from_module(place, folder, reference)
    if not hasattr(module, name):
        public = [
            known
            for known, value in vars(module).items()
            if not known.startswith("_") and not isinstance(value, ModuleType)
        ]
        raise UnknownNameError("name", name, public, where=place)
    return getattr(module, name)


def _from_file(path: Path, reference: str) -> ModuleType:
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path), remedy=f"check the path in {reference!r}")
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError("it cannot be loaded as a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up by name
    with _importable(path.parent), _plain_errors(str(path)):
        spec.loader.exec_module(module)
    return module


def _from_module(name: str, folder: Path, reference: str) -> ModuleType:
    with _importable(folder), _plain_errors(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                raise UsageError(
                    f"there is no module {error.name!r}",
                    where=reference,
                    remedy=f"install it, or run from the folder that holds it (looked in {folder})",
                ) from error
            raise


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _plain_errors(where: str) -> Iterator[None]:
    """Turns what the user's code raises while it is imported into one line."""
    try:
        yield
    except DeployCompressError:
        raise
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in _EXTRAS:
            raise MissingExtraError(missing, _EXTRAS[missing]) from error
        raise EnvironmentLacksError(
            f"it imports {error.name!r}, which is not installed", where=where, remedy=f"pip install {missing}"
        ) from error
    except Exception as error:
        raise UsageError(f"importing it raised {type(error).__name__}: {error}", where=where) from error
