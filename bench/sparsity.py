"""`prune --unstructured` and `--n-m` on the shared CIFAR-10 ResNet-20: top-1, bytes stored and packed.

    python bench/sparsity.py

Every method at half and at 80 % of the weights and in 2:4, calibrated on 260 training images, judged on the 5,000 test
images. Nothing is timed: dense kernels multiply by zeros like by anything else.
"""

from __future__ import annotations

from shared import RESNET20, WORK, cifar10_calibration, cifar10_evaluation, markdown

from deploycompress import sparsify, targets
from deploycompress.pruning.sparse import METHODS, Pattern
from deploycompress.report import words

TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
PATTERNS = (Pattern(0.5), Pattern(0.8), Pattern(kept=2, of=4))


def main() -> None:
    """Prints the table, and keeps it in build/bench."""
    calibration, evaluation = str(cifar10_calibration()), str(cifar10_evaluation())
    rows = []
    for pattern in PATTERNS:
        for method in METHODS:
            if method == "lamp" and pattern.share is None:
                continue
            result = sparsify(
                RESNET20,
                WORK / "resnet20.sparse.onnx",
                target=TARGET,
                pattern=pattern,
                method=method,
                calib=calibration,
                preprocess="imagenet",
                eval_data=evaluation,
            )
            assert result.accuracy is not None
            packed = [words.size(each.download_bytes) for each in (result.size_before, result.size_after)]
            rows.append(
                [
                    pattern.called,
                    method,
                    words.drop(result.accuracy),
                    words.size(result.size_after.size_bytes),
                    " -> ".join(packed),
                ]
            )
            print(*rows[-1], sep=" | ", flush=True)
    table = markdown(["zeros", "method", "top-1 drop", "stored", "packed"], rows)
    (WORK / "sparsity.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
