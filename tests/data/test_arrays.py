"""Arrays on disk become samples in every accepted layout; what does not fit is listed with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress import data
from deploycompress.errors import DataRejectedError
from deploycompress.records.signature import Signature

Takes = Callable[..., Signature]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype(np.float32)


@pytest.fixture
def vectors(takes: Takes) -> Signature:
    """A model that takes float32[n, 3]."""
    return takes(x=("float32", "n", 3))


def stack(samples: data.Samples, name: str = "x") -> np.ndarray:
    return np.concatenate([sample.feed[name] for sample in samples])


def test_single_npz_is_a_stack_with_labels(tmp_path: Path, vectors: Signature) -> None:
    np.savez(tmp_path / "d.npz", x=X, labels=np.array([5, 4, 3, 2, 1, 0]))
    samples = data.open(str(tmp_path / "d.npz"), vectors)
    np.testing.assert_array_equal(stack(samples), X)
    assert [sample.label for sample in samples] == [5, 4, 3, 2, 1, 0]
    assert samples.labelled
    assert next(iter(samples)).name == "d.npz[0]"


@pytest.mark.parametrize("key", ["label", "labels", "y"])
def test_scores_are_labels_too(tmp_path: Path, vectors: Signature, key: str) -> None:
    np.savez(tmp_path / "d.npz", x=X[:2], **{key: np.array([[0.5], [2.0]], np.float32)})
    assert [sample.label for sample in data.open(str(tmp_path / "d.npz"), vectors)] == [0.5, 2.0]


def test_array_named_like_a_label_is_an_input_where_the_model_has_one(tmp_path: Path, takes: Takes) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=X)
    samples = data.open(str(tmp_path / "d.npz"), takes(x=("float32", "n", 3), y=("float32", "n", 3)))
    np.testing.assert_array_equal(stack(samples, "y"), X)
    assert not samples.labelled


def test_single_npy_is_a_stack_or_one_sample(tmp_path: Path, vectors: Signature) -> None:
    np.save(tmp_path / "all.npy", X)
    np.save(tmp_path / "one.npy", X[0])
    np.testing.assert_array_equal(stack(data.open(str(tmp_path / "all.npy"), vectors)), X)
    np.testing.assert_array_equal(stack(data.open(str(tmp_path / "one.npy"), vectors)), X[:1])


def test_folder_holds_one_sample_a_file_in_sorted_order(tmp_path: Path, vectors: Signature) -> None:
    for index in range(5, -1, -1):
        np.save(tmp_path / f"{index}.npy", X[index])
    np.testing.assert_array_equal(stack(data.open(str(tmp_path), vectors)), X)


def test_folder_of_stacks_is_one_long_stack(tmp_path: Path, vectors: Signature) -> None:
    np.savez(tmp_path / "a.npz", x=X[:4], label=np.arange(4))
    np.savez(tmp_path / "b.npz", x=X[4:], label=np.arange(2))
    samples = data.open(str(tmp_path), vectors)
    np.testing.assert_array_equal(stack(samples), X)
    assert [sample.label for sample in samples] == [0, 1, 2, 3, 0, 1]
    assert samples.skipped == ()


def test_one_sub_folder_per_input_joins_equal_names(tmp_path: Path, takes: Takes) -> None:
    signature = takes(**{"a:0": ("float32", "n", 3), "b": ("int64", "n")})
    for folder in ("a_0", "b", "c"):
        (tmp_path / folder).mkdir()
    for index in range(3):
        np.save(tmp_path / "a_0" / f"{index}.npy", X[index])
        np.save(tmp_path / "b" / f"{index}.npy", np.int64(index))
    np.save(tmp_path / "a_0" / "lonely.npy", X[0])
    np.save(tmp_path / "c" / "0.npy", X[0])
    (tmp_path / "labels.csv").write_text("0,7\n1,8\n2,9\n")
    samples = data.open(str(tmp_path), signature)
    np.testing.assert_array_equal(stack(samples, "a:0"), X[:3])
    np.testing.assert_array_equal(stack(samples, "b"), [0, 1, 2])
    assert [sample.label for sample in samples] == [7, 8, 9]
    assert samples.skipped == (
        data.Skipped("lonely", "there is no b/lonely.npy for input 'b'"),
        data.Skipped("c", "no input has this name"),
    )


def test_misspelt_input_folder_is_listed_with_the_nearest(tmp_path: Path, takes: Takes) -> None:
    for folder in ("input_ids", "atention_mask"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "0.npy", np.ones(4, int))
    with pytest.raises(DataRejectedError, match="atention_mask: no input has this name; did you mean attention_mask"):
        data.open(str(tmp_path), takes(input_ids=("int64", "n", "s"), attention_mask=("int64", "n", "s")))


def test_every_bad_file_is_listed_with_its_reason(tmp_path: Path, vectors: Signature) -> None:
    np.save(tmp_path / "good.npy", X[0])
    np.save(tmp_path / "nan.npy", np.full(3, np.nan, np.float32))
    np.save(tmp_path / "shape.npy", np.zeros(4, np.float32))
    np.save(tmp_path / "rank.npy", np.zeros((2, 2, 3), np.float32))
    np.save(tmp_path / "text.npy", np.array(["a", "b", "c"]))
    np.save(tmp_path / "objects.npy", np.array([{}, {}, {}]), allow_pickle=True)
    np.save(tmp_path / "none.npy", np.zeros((0, 3), np.float32))
    np.savez(tmp_path / "names.npz", z=X, w=X)
    np.savez(tmp_path / "counts.npz", x=X, labels=np.arange(4))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-3])
    (tmp_path / "empty.npz").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "w.pkl").touch()
    (tmp_path / ".hidden").touch()
    samples = data.open(str(tmp_path), vectors)
    np.testing.assert_array_equal(stack(samples), X[:1])
    reasons = {skipped.path: skipped.reason for skipped in samples.skipped}
    expected = {
        "nan.npy": "holds NaN",
        "shape.npy": "has shape [4], the model takes [3]",
        "rank.npy": "takes rank 2 (or 1 for one sample), the array has shape [2, 2, 3]",
        "text.npy": "takes float32, the data is str",
        "objects.npy": "pickled objects",
        "none.npy": "it holds no sample",
        "names.npz": "no array for input 'x'; it holds 'z', 'w'",
        "counts.npz": "4 labels for 6 samples",
        "cut.npy": "truncated",
        "empty.npz": "damaged or truncated",
        "notes.txt": "it is not one of .npy, .npz",
        "w.pkl": "a pickle, which runs code when read",
    }
    assert reasons.keys() == expected.keys()
    for name, words in expected.items():
        assert words in reasons[name], name


def test_bad_sample_inside_a_stack_is_left_out_alone(tmp_path: Path, vectors: Signature) -> None:
    broken = X.copy()
    broken[2, 1] = np.inf
    np.savez(tmp_path / "d.npz", x=broken, y=np.arange(6))
    samples = data.open(str(tmp_path / "d.npz"), vectors)
    np.testing.assert_array_equal(stack(samples), np.delete(X, 2, axis=0))
    assert [sample.label for sample in samples] == [0, 1, 3, 4, 5]
    assert samples.skipped == (data.Skipped("d.npz[2]", "input 'x' holds Inf (1 of 3 values, first at [1])"),)


def test_gray_images_without_a_channel_axis_get_one_and_that_is_told(tmp_path: Path, takes: Takes) -> None:
    images = RNG.integers(0, 256, (5, 8, 8), np.uint8)
    np.savez_compressed(tmp_path / "d.npz", images=images, labels=np.arange(5, dtype=np.uint8))
    samples = data.open(str(tmp_path / "d.npz"), takes(x=("float32", 1, 1, 8, 8)))
    np.testing.assert_array_equal(stack(samples)[:, 0], images)
    assert samples.notes == (
        "array 'images' is fed to input 'x', the only one (5 samples)",
        "an axis of length 1 was added to 'x' (5 samples)",
        "input 'x' was converted from uint8 to float32 (5 samples)",
    )


def test_single_picture_of_the_same_rank_is_not_taken_for_a_stack(tmp_path: Path, takes: Takes) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8), np.float32))
    (sample,) = data.open(str(tmp_path / "one.npy"), takes(x=("float32", "n", 1, 8, 8)))
    assert sample.feed["x"].shape == (1, 1, 8, 8)


def test_model_without_a_batch_axis_takes_each_file_as_a_complete_feed(tmp_path: Path, takes: Takes) -> None:
    signature = takes(x=("float32", 1, 4), state=("float32", 2, 1, 3), rate=("int64",))
    for index in range(2):
        np.savez(tmp_path / f"{index}.npz", x=np.full((1, 4), index, "f4"), state=np.zeros((2, 1, 3), "f4"), rate=16000)
    samples = data.open(str(tmp_path), signature)
    assert [sample.feed["x"][0, 0] for sample in samples] == [0, 1]
    assert [sample.feed["rate"].shape for sample in samples] == [(), ()]
    assert [len(batch.names) for batch in samples.batches(8)] == [1, 1]


def test_fixed_batch_is_filled_across_files(tmp_path: Path, takes: Takes) -> None:
    np.save(tmp_path / "a.npy", X[:3])
    np.save(tmp_path / "b.npy", X[3:])
    samples = data.open(str(tmp_path), takes(x=("float32", 2, 3)))
    assert len(samples) == 3
    np.testing.assert_array_equal(stack(samples), X)


def test_labels_of_files_come_from_class_folders(tmp_path: Path, vectors: Signature) -> None:
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", X[0])
    samples = data.open(str(tmp_path), vectors)
    assert [(sample.name, sample.label) for sample in samples] == [("no/a.npy", 0), ("yes/a.npy", 1)]
