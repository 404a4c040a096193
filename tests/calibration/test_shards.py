"""Joined shares are one pass over everything, whatever the split; what does not belong together is not joined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.calibration.files import Calibration
from deploycompress.calibration.gram import Gram
from deploycompress.calibration.header import Origin, Shard
from deploycompress.calibration.ranges import RANGE_METHODS
from deploycompress.calibration.shards import joined, parse
from deploycompress.calibration.statistics import Statistics, TensorStatistics
from deploycompress.errors import CalibrationRejectedError, UsageError
from tests.calibration.test_files import DENSE, ORIGIN
from tests.zoo import normal


def over(samples: list[np.ndarray]) -> Statistics:
    """One pass."""
    found = TensorStatistics()
    for sample in samples:
        found = found.merge(TensorStatistics.of(sample, channel_axis=0))
    return Statistics({"x": found}, len(samples))


def origin(feeds: int, shard: Shard | None = None, **changed: object) -> Origin:
    data = ORIGIN.data.model_copy(update={"feeds": feeds, **{k: v for k, v in changed.items() if k == "fingerprint"}})
    rest = {k: v for k, v in changed.items() if k != "fingerprint"}
    return ORIGIN.model_copy(update={"data": data, "shard": shard, **rest})


def shares(samples: list[np.ndarray], count: int) -> dict[Path, Calibration]:
    made = {}
    for shard in (Shard(index=n, count=count) for n in range(1, count + 1)):
        part = [samples[k] for k in shard.positions(len(samples))]
        made[Path(f"{shard.index}.json")] = Calibration(origin(len(samples), shard), over(part))
    return made


@given(
    samples=st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=1, max_size=12),
    count=st.integers(1, 5),
    order=st.randoms(),
)
def test_any_number_of_shares_in_any_order_is_one_pass(
    samples: list[list[float]], count: int, order: np.random.Generator
) -> None:
    arrays = [np.array(sample, np.float32) for sample in samples]
    parts = list(shares(arrays, min(count, len(arrays))).items())
    order.shuffle(parts)
    found, whole = joined(dict(parts)), over(arrays)
    assert found.origin == origin(len(arrays))
    assert found.statistics.samples == whole.samples
    one, other = found.statistics["x"], whole["x"]
    assert (one.count, one.low, one.high, one.nonfinite) == (other.count, other.low, other.high, other.nonfinite)
    assert one.histogram.exponent == other.histogram.exponent
    np.testing.assert_array_equal(one.histogram.counts, other.histogram.counts)
    np.testing.assert_array_equal(one.channel_absmax, other.channel_absmax)  # type: ignore[arg-type]
    # Another order of at most 12 additions of values up to 100: below 12 * 1200 * 2**-53.
    np.testing.assert_allclose(one.channel_sums, other.channel_sums, atol=2e-12)  # type: ignore[arg-type]
    for method in RANGE_METHODS.values():
        assert method(one) == method(other)


@given(st.lists(st.lists(st.floats(width=32), min_size=1, max_size=4), min_size=3, max_size=9), st.data())
def test_merging_is_associative(samples: list[list[float]], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), min_size=2, max_size=2)))
    arrays = [np.array(sample, np.float32) for sample in samples]
    a, b, c = (over(part) for part in (arrays[: cuts[0]], arrays[cuts[0] : cuts[1]], arrays[cuts[1] :]))
    left, right = a.merge(b).merge(c)["x"], a.merge(b.merge(c))["x"]
    assert (left.count, left.low, left.high, left.nonfinite) == (right.count, right.low, right.high, right.nonfinite)
    np.testing.assert_array_equal(left.histogram.counts, right.histogram.counts)


@given(st.integers(1, 40), st.integers(1, 9))
def test_every_sample_belongs_to_one_share(feeds: int, count: int) -> None:
    seen = [k for n in range(1, count + 1) for k in Shard(index=n, count=count).positions(feeds)]
    assert sorted(seen) == list(range(feeds))


SAMPLES = [normal(3, seed=seed) for seed in range(7)]


def test_a_missing_share_is_named() -> None:
    parts = shares(SAMPLES, 3)
    del parts[Path("2.json")]
    with pytest.raises(CalibrationRejectedError, match="--merge: share 2/3 is missing; give all 3"):
        joined(parts)


def test_a_share_given_twice_is_named() -> None:
    parts = shares(SAMPLES, 3)
    with pytest.raises(CalibrationRejectedError, match=r"copy\.json: it holds share 2/3, as 2\.json does"):
        joined({**parts, Path("copy.json"): parts[Path("2.json")]})


def test_shares_of_two_splits_are_not_joined() -> None:
    parts = shares(SAMPLES, 2)
    mixed = {Path("1.json"): parts[Path("1.json")], Path("3.json"): shares(SAMPLES, 3)[Path("3.json")]}
    with pytest.raises(CalibrationRejectedError, match=r"3\.json: it was not split as 1\.json was"):
        joined(mixed)


def test_a_whole_calibration_is_not_a_share() -> None:
    whole = {Path("w.json"): Calibration(origin(7), over(SAMPLES))}
    with pytest.raises(CalibrationRejectedError, match=r"w\.json: it holds all samples, not a share of them"):
        joined(whole)


def test_an_incomplete_share_is_refused() -> None:
    parts = shares(SAMPLES, 2)
    parts[Path("2.json")] = Calibration(parts[Path("2.json")].origin, over(SAMPLES[:1]))
    with pytest.raises(CalibrationRejectedError, match=r"2\.json: it saw 1 of its 3 samples"):
        joined(parts)


@pytest.mark.parametrize("what", ["tensors", "grams"])
def test_shares_that_looked_at_something_else_are_not_joined(what: str) -> None:
    parts = shares(SAMPLES, 2)
    second = parts[Path("2.json")]
    extra: dict[str, object] = {
        "tensors": {**second.statistics.tensors, "y": TensorStatistics()},
        "grams": {DENSE: Gram.of(DENSE, normal(2, 3))},
    }
    more = replace(second.statistics, **{what: extra[what]})
    parts[Path("2.json")] = Calibration(second.origin, more)
    with pytest.raises(CalibrationRejectedError, match=r"2\.json: it was not split as 1\.json was"):
        joined(parts)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_sha256": "c" * 64}, "another model"),
        ({"fingerprint": "c" * 64}, "other samples"),
        ({"package_version": "9"}, "another version of deploycompress"),
        ({"target": "toaster"}, "another target"),
        ({"rewrites": ()}, "a graph rewritten otherwise"),
    ],
)
def test_shares_of_something_else_are_refused_by_what_differs(changed: dict[str, object], said: str) -> None:
    parts = shares(SAMPLES, 2)
    second = parts[Path("2.json")]
    parts[Path("2.json")] = Calibration(origin(7, second.origin.shard, **changed), second.statistics)
    with pytest.raises(CalibrationRejectedError, match=rf"2\.json: it was made from {said} than 1\.json was"):
        joined(parts)


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/", "a/b", "1/3/4", "-1/3", "\u00b2/3"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard: there is no share .*; give i/n with i from 1 to n"):
        parse(text)


def test_a_share_is_written_as_it_is_read() -> None:
    assert str(parse("2/3")) == "2/3"
