"""What the user names is taken for what it is, and options that mean nothing there are refused."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from deploycompress import data
from deploycompress.errors import DataRejectedError, UsageError
from deploycompress.records.signature import Signature, TensorSpec

Takes = Callable[..., Signature]


@pytest.fixture
def vectors(takes: Takes) -> Signature:
    """A model that takes float32[n, 3]."""
    return takes(x=("float32", "n", 3))


def test_missing_source_is_named(tmp_path: Path, vectors: Signature) -> None:
    with pytest.raises(DataRejectedError, match="absent: there is no such file or folder; check the path"):
        data.open(str(tmp_path / "absent"), vectors)


def test_empty_folder_is_refused(tmp_path: Path, vectors: Signature) -> None:
    with pytest.raises(DataRejectedError, match=r"the folder is empty; give \.png"):
        data.open(str(tmp_path), vectors)


def test_folder_of_unknown_files_is_refused_with_what_it_holds(tmp_path: Path, vectors: Signature) -> None:
    for name in ("a.txt", "b.txt", "c"):
        (tmp_path / name).touch()
    with pytest.raises(DataRejectedError, match=r"no file in it can be read \(2 \.txt, 1 without suffix\)"):
        data.open(str(tmp_path), vectors)


@pytest.mark.parametrize(
    ("name", "reason"), [("a.zip", "unpack it first"), ("a.pkl", "runs code when read"), ("a.onnx", "it is not one of")]
)
def test_file_that_cannot_be_read_is_told_why(tmp_path: Path, vectors: Signature, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataRejectedError, match=reason):
        data.open(str(tmp_path / name), vectors)


def test_two_files_of_text_must_be_chosen_from(tmp_path: Path, vectors: Signature) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\na\n")
    with pytest.raises(DataRejectedError, match=r"it holds 2 text files; name one: a\.csv"):
        data.open(str(tmp_path), vectors)


def test_options_without_a_meaning_are_refused(tmp_path: Path, vectors: Signature) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3, np.float32))
    source = str(tmp_path / "a.npy")
    with pytest.raises(UsageError, match="--preprocess has no meaning for these samples; leave it out"):
        data.open(source, vectors, preprocess="raw")
    with pytest.raises(UsageError, match="--tokenizer has no meaning"):
        data.open(source, vectors, tokenizer=tmp_path)
    with pytest.raises(UsageError, match="--labels has no meaning"):
        data.open("random", vectors, labels=tmp_path)


def test_limit_below_one_is_refused(vectors: Signature) -> None:
    with pytest.raises(UsageError, match="a limit of 0 samples leaves none"):
        data.open("random", vectors, limit=0)


def spec(session: onnxruntime.InferenceSession) -> Signature:
    (only,) = session.get_inputs()
    dtype = {"tensor(float)": "float32", "tensor(int64)": "int64"}[only.type]
    return Signature((TensorSpec(only.name, dtype, tuple(only.shape)),), ())


def right(session: onnxruntime.InferenceSession, samples: data.Samples) -> int:
    name = session.get_inputs()[0].name
    return sum(
        int((session.run(None, {name: batch.feed[name]})[0].argmax(1) == np.array(batch.labels)).sum())
        for batch in samples.batches(64)
    )


@pytest.fixture
def session(shared: Path) -> Callable[[str], onnxruntime.InferenceSession]:
    """Opens a shared model."""

    def build(name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(str(shared / "models" / name), options, ["CPUExecutionProvider"])

    return build


@pytest.mark.shared
def test_imagenet_pictures_give_the_published_accuracy(shared: Path, tmp_path: Path, session: Callable) -> None:
    with zipfile.ZipFile(shared / "data/imagenet/imagenet500a.zip") as archive:
        archive.extractall(tmp_path / "imagenet500a")
    (tmp_path / "imagenet500a_labels.csv").write_bytes((shared / "data/imagenet/imagenet500a_labels.csv").read_bytes())
    model = session("imagenet/mobilenet_v1_0.25_224_fp32.onnx")
    samples = data.open(str(tmp_path / "imagenet500a"), spec(model), preprocess="minus-one-one")
    assert (len(samples), samples.skipped) == (500, ())
    assert right(model, samples) == 285  # 57.0 %, as the README of the shared data says


@pytest.mark.shared
def test_cifar_pictures_give_the_published_accuracy(shared: Path, tmp_path: Path, session: Callable) -> None:
    with tarfile.open(shared / "data/cifar10/cifar10_test5000.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = {path.parent for path in tmp_path.rglob("airplane")}
    model = session("cifar10/resnet20_cifar10.onnx")
    samples = data.open(str(folder), spec(model), preprocess="imagenet", limit=500)
    assert np.bincount([sample.label for sample in samples]).tolist() == [50] * 10
    # 81.02 % on all 5,000; the standard error of 500 of them is 1.8 points, and four of it is the bound
    assert abs(right(model, samples) - 405) < 36


@pytest.mark.shared
def test_mnist_npz_gives_the_published_accuracy(shared: Path, session: Callable) -> None:
    model = session("mnist/mnist_cntk_opset7.onnx")
    samples = data.open(str(shared / "data/mnist/mnist_test5000.npz"), spec(model), limit=1000)
    # 98.91 % on all 10,000; the standard error of 1,000 is 0.33 points, and four of it is the bound
    assert abs(right(model, samples) - 989) < 13


@pytest.mark.shared
def test_token_ids_of_another_width_are_fed_to_the_language_model(shared: Path, session: Callable) -> None:
    model = session("text/stories260K.onnx")
    samples = data.open(str(shared / "data/text/stories_sampled_ids.npz"), spec(model))
    (batch,) = samples.batches(16)
    assert batch.feed["input_ids"].dtype == np.int64
    assert model.run(None, {"input_ids": batch.feed["input_ids"][:, :8]})[0].shape == (16, 8, 512)


@pytest.mark.shared
def test_packed_text_is_not_taken_for_a_table(shared: Path, takes: Takes, tmp_path: Path) -> None:
    packed = shared / "data/text/MRPC_train.tsv.xz"
    signature = takes(input_ids=("int64", "n", "s"))
    with pytest.raises(DataRejectedError, match="it is an archive; unpack it first"):
        data.open(str(packed), signature, tokenizer=tmp_path / "t.json")
