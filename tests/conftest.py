"""Fixtures every test may use. Tests of real models skip by name where the shared folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DEPLOYCOMPRESS_SHARED", REPOSITORY.parent / "shared")) / "data"

# No test asserts a time: sessions open at their own pace on a loaded machine. In CI every run draws the same examples.
settings.register_profile("local", deadline=None, max_examples=40)
settings.register_profile(
    "ci", deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared models and data are absent ({SHARED})")
    return SHARED
