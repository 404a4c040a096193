"""Where the real models and data lie, and how the benchmarks unpack them into folders that the readers take."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DEPLOYCOMPRESS_SHARED", REPOSITORY.parent / "shared")) / "data"
WORK = REPOSITORY / "build" / "bench"

RESNET20 = SHARED / "models/cifar10/resnet20_cifar10.onnx"
MOBILENET = SHARED / "models/imagenet/mobilenet_v1_0.25_224_fp32.onnx"
CALIBRATION_PER_CLASS = 26  # 260 CIFAR images


def cifar10_evaluation() -> Path:
    """The 5,000 test images, one folder a class."""
    return _once("cifar10-evaluation", lambda folder: _untar("cifar10_test5000", folder, lambda name: True))


def cifar10_calibration() -> Path:
    """The first images of each class of the training part."""
    keep = {f"{number:04d}.jpg" for number in range(CALIBRATION_PER_CLASS)}
    return _once("cifar10-calibration", lambda folder: _untar("cifar10_train25000a", folder, lambda name: name in keep))


def imagenet_half(half: int) -> Path:
    """Every second of the 500 images with their labels; the two halves are disjoint."""

    def unpack(folder: Path) -> None:
        labels = SHARED / "data/imagenet/imagenet500a_labels.csv"
        with zipfile.ZipFile(SHARED / "data/imagenet/imagenet500a.zip") as archive:
            names = sorted(name for name in archive.namelist() if not name.endswith("/"))
            for name in names[half::2]:
                (folder / Path(name).name).write_bytes(archive.read(name))
        shutil.copy(labels, folder / "labels.csv")

    return _once(f"imagenet-{half}", unpack)


def markdown(headers: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(headers)} |"]
    lines.append("|" + "---|" * lines[0].count(" | ") + "---|")
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def _untar(archive: str, folder: Path, keep: Callable[[str], bool]) -> None:
    with tarfile.open(SHARED / f"data/cifar10/{archive}.tar.xz") as tar:
        for member in tar:
            path = Path(member.name)
            content = tar.extractfile(member) if member.isfile() and keep(path.name) else None
            if content is not None:
                target = folder / path.parent.name / path.name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(content.read())


def _once(name: str, unpack: Callable[[Path], None]) -> Path:
    """`WORK/name`, made by `unpack` where it is absent; an interrupted unpacking leaves nothing behind."""
    folder = WORK / name
    if not folder.is_dir():
        draft = WORK / f"{name}.part"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        unpack(draft)
        draft.rename(folder)
    return folder
