"""One judging pass counts, names and hashes; later passes give the same samples again or say that they cannot."""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress import data
from deploycompress.data.judging import judge
from deploycompress.data.source import Entry, Raw, Unusable
from deploycompress.errors import DataRejectedError
from deploycompress.records.signature import Signature, TensorSpec

Takes = Callable[..., Signature]
ONE = Signature((TensorSpec("x", "float32", ("n", 1)),), ())
FOUR = Signature((TensorSpec("x", "float32", (4, 1)),), ())


@dataclass
class Numbers:
    """A source of the numbers 0 .. n-1; the `bad` ones are unusable. Counts what was read."""

    length: int
    bad: frozenset[int] = frozenset()
    knows_count: bool = True
    labelled: bool = True
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    seen: list[int] = field(default_factory=list)

    @property
    def count(self) -> int | None:
        return self.length if self.knows_count else None

    def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
        for index in range(self.length):
            if wanted is None or index in wanted:
                self.seen.append(index)
                array = np.full(1, np.nan if index in self.bad else index, np.float32)
                label = index % 3 if self.labelled else None
                yield Entry(index, f"file{index}", Raw({"x": array}, label, f"file{index}"))


def values(samples: data.Samples) -> list[float]:
    return [float(sample.feed["x"].flat[0]) for sample in samples]


@given(st.integers(1, 30), st.sets(st.integers(0, 29)), st.none() | st.integers(1, 35), st.booleans())
def test_length_is_true_and_every_pass_is_the_same(length: int, bad: set[int], limit: int | None, known: bool) -> None:
    source = Numbers(length, frozenset(bad), known)
    good = [index for index in range(length) if index not in bad]
    if not good:
        with pytest.raises(DataRejectedError, match=r"not one usable sample \(file0: input 'x' holds NaN"):
            judge("s", source, ONE, limit=limit)
        return
    samples = judge("s", source, ONE, limit=limit)
    assert len(source.seen) == len(set(source.seen))  # no sample was read twice
    first = values(samples)
    assert len(samples) == samples.examples == len(first) == min(len(good), limit or len(good))
    assert first == values(samples) == sorted(first)
    assert set(first) <= set(good)
    skipped = [int(item.path.removeprefix("file")) for item in samples.skipped]
    assert skipped == sorted(skipped)
    assert set(skipped) <= bad
    if limit is None:
        assert len(samples.skipped) == length - len(good)
    assert [label for batch in samples.batches(7) for label in batch.labels] == [int(v) % 3 for v in first]
    assert samples.labelled


def test_progress_of_the_judging_pass_is_shown() -> None:
    shown: list[tuple[str, int | None, int]] = []

    def track(items: Iterable[Entry], description: str, total: int | None = None) -> Iterator[Entry]:
        for index, item in enumerate(items):
            shown.append((description, total, index))
            yield item

    judge("s", Numbers(10), ONE, limit=2, track=track)
    assert shown == [("reading samples", 2, 0), ("reading samples", 2, 1)]


def test_limit_is_spread_over_the_source() -> None:
    assert values(judge("s", Numbers(100), ONE, limit=5)) == [0, 20, 40, 60, 80]


def test_limit_is_filled_up_past_bad_samples_which_are_listed_in_order() -> None:
    samples = judge("s", Numbers(4, frozenset({1, 2})), ONE, limit=2)  # judged in the order 0, 2, then 1, then 3
    assert values(samples) == [0, 3]
    assert [item.path for item in samples.skipped] == ["file1", "file2"]


def test_limit_on_a_source_of_unknown_length_takes_the_first_and_stops() -> None:
    source = Numbers(100, knows_count=False)
    assert values(judge("s", source, ONE, limit=3)) == [0, 1, 2]
    assert max(source.seen) <= 3


def test_fixed_batch_groups_samples_and_tells_what_is_left_out() -> None:
    samples = judge("s", Numbers(11, frozenset({2})), FOUR)
    assert (len(samples), samples.examples) == (2, 8)
    assert "the last 2 samples do not fill a batch of 4 and are left out" in samples.notes
    feeds = [sample.feed["x"][:, 0].tolist() for sample in samples]
    assert feeds == [[0, 1, 3, 4], [5, 6, 7, 8]]
    assert [sample.label for sample in samples] == [None, None]
    for size in (1, 4, 32):
        batches = list(samples.batches(size))
        assert [batch.feed["x"][:, 0].tolist() for batch in batches] == feeds
        assert [batch.labels for batch in batches] == [(0, 1, 0, 1), (2, 0, 1, 2)]
        assert batches[0].names == ("file0", "file1", "file3", "file4")


def test_too_few_samples_for_a_fixed_batch_are_refused() -> None:
    with pytest.raises(DataRejectedError, match=r"3 usable samples do not fill the fixed batch of 4.*dynamic batch"):
        judge("s", Numbers(3), FOUR)


def test_fingerprint_depends_on_values_labels_and_order_and_on_nothing_else() -> None:
    base = judge("s", Numbers(5), ONE).fingerprint
    assert judge("elsewhere", Numbers(5, knows_count=False), ONE).fingerprint == base
    assert judge("s", Numbers(5, frozenset({1})), ONE).fingerprint != base
    assert judge("s", Numbers(5, labelled=False), ONE).fingerprint != base
    assert judge("s", Numbers(10), ONE, limit=5).fingerprint != base


def test_summary_names_the_first_reasons_and_counts_the_rest() -> None:
    source = Numbers(5, frozenset(range(5)))
    with pytest.raises(DataRejectedError, match=r"file0: .*; file1: .*; file2: .* NaN .*; and 2 more\)") as caught:
        judge("s", source, ONE)
    assert caught.value.exit_code == 4
    assert "file3" not in str(caught.value)


def test_source_that_changes_between_passes_is_noticed() -> None:
    source = Numbers(5)
    samples = judge("s", source, ONE)
    source.length = 4
    with pytest.raises(DataRejectedError, match="it gave 5 samples at first and 4 now; make it repeatable"):
        list(samples)
    source.length, source.bad = 5, frozenset({3})
    with pytest.raises(DataRejectedError, match="file3: it changed while in use: input 'x' holds NaN"):
        list(samples)


def test_partly_labelled_samples_are_not_labelled_and_that_is_told() -> None:
    @dataclass
    class Half(Numbers):
        def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
            for entry in super().read(wanted):
                assert not isinstance(entry.found, Unusable)
                label = 1 if entry.index else None
                yield Entry(entry.index, entry.path, Raw(entry.found.arrays, label, entry.found.name))

    samples = judge("s", Half(3), ONE)
    assert not samples.labelled
    assert "1 of 3 samples have no label, so accuracy cannot be measured" in samples.notes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory figures of Linux")
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path, takes: Takes) -> None:
    rows, width = 300, 50_000  # 300 samples of 0.2 MB: 60 MB
    np.save(tmp_path / "x.npy", np.zeros((rows, width), np.float32))
    np.savez_compressed(tmp_path / "z.npz", x=np.zeros((rows, width), np.float32))
    page = resource.getpagesize()

    def anonymous_bytes() -> int:  # resident minus file-backed: mapped pages of the file are not ours
        fields = Path("/proc/self/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * page

    for name in ("x.npy", "z.npz"):
        before = peak = anonymous_bytes()
        for sample in data.open(str(tmp_path / name), takes(x=("float32", "n", width))):
            assert sample.feed["x"].shape == (1, width)
            peak = max(peak, anonymous_bytes())
        # a few samples are alive at once (0.2 MB each, in up to five forms); all of them would be 60 MB
        assert peak - before < 8_000_000
