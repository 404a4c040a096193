"""Right pairs of real models and real data pass in silence, and the wrong ones next to them do not."""

from __future__ import annotations

import tarfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer
from tokenizers.models import WordPiece

from deploycompress import model as models
from deploycompress import targets
from deploycompress.flow.data_doctor import examine
from tests.zoo import model, normal, shared_folder

pytestmark = pytest.mark.shared
TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
PICTURES_PER_CLASS = 2


def said(network: Path, source: object, **options: object) -> list[tuple[str, str]]:
    found = examine(network, str(source), target=TARGET, **options)  # type: ignore[arg-type]
    return [(symptom.severity, symptom.check) for symptom in found.symptoms]


@pytest.fixture(scope="module")
def cifar10(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test pictures of each class, in folders."""
    folder = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(shared / "data/cifar10/cifar10_test5000.tar.xz") as archive:
        for member in archive:
            path = Path(member.name)
            if member.isfile() and int(path.stem) < PICTURES_PER_CLASS:
                (folder / path.parent.name).mkdir(exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                (folder / path.parent.name / path.name).write_bytes(content.read())
    return folder


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        ("imagenet", []),
        ("raw", ("failure", "values on another scale")),
        ("unit", ("warning", "values on another scale")),
    ],
)
def test_resnet20_is_told_its_preprocessing_from_another(
    shared: Path, cifar10: Path, preprocess: str, expected: list[str] | tuple[str, str]
) -> None:
    network = shared / "models/cifar10/resnet20_cifar10.onnx"
    found = said(network, cifar10, preprocess=preprocess)
    assert found == [] if not expected else found[0] == expected


def test_raw_pixels_are_right_for_mnist_cntk(shared: Path) -> None:
    # Its bias is a thousand times smaller than what it is added to, so the ratio alone would be an alarm.
    network = shared / "models/mnist/mnist_cntk_opset7.onnx"
    assert said(network, shared / "data/mnist/mnist_test5000.npz", limit=40) == []


def test_token_ids_of_the_language_model_pass(shared: Path) -> None:
    network = shared / "models/text/stories260K.onnx"
    assert said(network, shared / "data/text/stories_sampled_ids.npz") == []


def speech() -> Iterator[dict[str, np.ndarray]]:
    """Windows of a recording, as silero_vad takes them."""
    with wave.open(str(shared_folder() / "data/audio/librispeech_1272-141231-0002.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    for start in range(0, 512 * 24, 512):
        state = np.zeros((2, 1, 128), np.float32)
        yield {"input": samples[None, start : start + 576], "state": state, "sr": np.array(16_000, np.int64)}


def test_windows_of_speech_pass(shared: Path) -> None:
    assert said(shared / "models/audio/silero_vad.onnx", f"{Path(__file__).resolve()}:speech") == []


def test_sentences_pass_and_another_vocabulary_does_not(shared: Path, tmp_path: Path) -> None:
    words = BertWordPieceTokenizer(WordPiece.read_file(str(shared / "data/text/bert_base_uncased_vocab.txt")))
    words.save(str(tmp_path / "tokenizer.json"))
    text = """g (int64[N,S] input_ids, int64[N,S] attention_mask, int64[N,S] token_type_ids) => (float[N,S,16] y) {
        e = Gather(words, input_ids)  t = Gather(types, token_type_ids)  s = Add(e, t)
        n = LayerNormalization(s, g, b)  m = MatMul(n, w)  f = Cast<to=1>(attention_mask)  a = Unsqueeze(f, last)
        h = Add(m, c)  y = Mul(h, a) }"""
    options = {"tokenizer": tmp_path / "tokenizer.json", "limit": 24}
    for size, expected in ((words.get_vocab_size(), []), (5000, [("failure", "samples that do not run")])):
        weights = {"words": normal(size, 16), "types": normal(2, 16), "g": normal(16), "b": normal(16)}
        net = model(text, **weights, w=normal(16, 16), c=normal(16), last=np.array([-1]))
        models.save(net, tmp_path / f"{size}.onnx")
        found = said(tmp_path / f"{size}.onnx", shared / "data/text/SST-2_dev.tsv", **options)
        assert [each for each in found if each[0] == "failure"] == expected
        assert len(found) == len(expected)
