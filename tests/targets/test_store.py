"""Every shipped profile is complete, and a wrong one is refused by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress import targets
from deploycompress.errors import UnknownNameError, UsageError

NAMES = {
    "server-cpu",
    "server-cpu-avx2",
    "server-cuda",
    "server-tensorrt",
    "mobile-arm64",
    "mobile-qnn",
    "edge-arm64-dotprod",
    "edge-arm64",
}


def test_the_eight_profiles_are_shipped() -> None:
    assert set(targets.names()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_profile_names_itself_and_the_source_of_its_figures(name: str) -> None:
    target = targets.load(name)
    assert target.name == name
    assert target.kind == name.split("-")[0]
    assert len(target.roofline.source) > 10
    assert len(target.quant.why) > 40
    assert len(target.opset_source) > 10


@pytest.mark.parametrize("name", ["server-cpu", "server-cpu-avx2"])
def test_x86_gets_unsigned_activations_and_signed_weights(name: str) -> None:
    rules = targets.load(name).quant
    assert (rules.activation, rules.weight, rules.per_channel) == ("uint8", "int8", True)


def test_only_the_profile_without_vnni_bounds_pairs() -> None:
    assert {name for name in NAMES if targets.load(name).quant.pair_safe} == {"server-cpu-avx2"}


def test_tensorrt_gets_zero_points_of_zero_and_float_biases() -> None:
    rules = targets.load("server-tensorrt").quant
    assert (rules.activation, rules.activation_symmetric, rules.quantize_bias) == ("int8", True, False)


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown target 'server-cup'; did you mean server-cpu"):
        targets.load("server-cup")


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkindd = "edge"\n')
    with pytest.raises(UsageError, match=r"mine.toml: (kindd|kind): "):
        targets.load(str(path))


def test_text_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("name = = 3")
    with pytest.raises(UsageError, match="not valid TOML"):
        targets.load(str(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the target profile"):
        targets.load(str(tmp_path / "absent.toml"))
