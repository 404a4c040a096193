"""profile name, or path of a TOML file -> Target."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.targets.profile import Target

_PROFILES = resources.files("deploycompress.targets") / "profiles"


def names() -> tuple[str, ...]:
    """Names of the shipped profiles, servers first."""
    found = [Path(entry.name).stem for entry in _PROFILES.iterdir() if entry.name.endswith(".toml")]
    return tuple(sorted(found, key=lambda name: (("server", "mobile", "edge").index(name.split("-")[0]), name)))


def load(name: str) -> Target:
    """The shipped profile of that name, or the user's own where `name` ends in `.toml`.

    Raises:
        UnknownNameError: No shipped profile has that name.
        UsageError: The file is unreadable, not TOML, or has a wrong or unknown key.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            return parse(path.read_text(encoding="utf-8"), where=name)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the target profile: {error}", where=name) from error
    if name not in names():
        raise UnknownNameError("target", name, names())
    return parse((_PROFILES / f"{name}.toml").read_text(encoding="utf-8"), where=name)


def parse(text: str, *, where: str) -> Target:
    """A Target from TOML text; the error names the key."""
    try:
        return Target.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not valid TOML: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{key}: {first['msg']}", where=where, remedy="see docs/targets.md for the keys") from error
