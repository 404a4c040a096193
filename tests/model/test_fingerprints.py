"""A fingerprint changes with the graph and with every weight, wherever it is stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress import model
from deploycompress.errors import ModelRejectedError

DATA = np.arange(4, dtype=np.float32)


def test_self_contained_model_has_the_sha256_of_its_file(add_model: Callable, write: Callable) -> None:
    path = write(add_model())
    assert model.fingerprint(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_changed_weight_in_the_data_file_changes_the_fingerprint(
    add_model: Callable, external: Callable, write: Callable
) -> None:
    path = write(add_model(external(location="w.data")), DATA)
    before = model.fingerprint(path)
    assert model.fingerprint(path) == before
    assert before != hashlib.sha256(path.read_bytes()).hexdigest()
    (DATA + 1).tofile(path.parent / "w.data")
    assert model.fingerprint(path) != before


def test_hostile_location_is_refused_before_it_is_hashed(
    add_model: Callable, external: Callable, write: Callable
) -> None:
    with pytest.raises(ModelRejectedError, match="absolute path"):
        model.fingerprint(write(add_model(external(location="/etc/passwd"))))


def test_same_file_sees_through_links(add_model: Callable, write: Callable, tmp_path: Path) -> None:
    path = write(add_model())
    link, hard, other = tmp_path / "link", tmp_path / "hard", tmp_path / "other"
    link.symlink_to(path)
    os.link(path, hard)
    other.write_bytes(path.read_bytes())
    assert model.same_file(path, link)
    assert model.same_file(path, hard)
    assert not model.same_file(path, other)
    assert not model.same_file(path, tmp_path / "absent")
