"""Saving under a kill, on a full disk, and with more weights than one wants in memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from deploycompress import model
from deploycompress.errors import EnvironmentLacksError


def big(value: float, count: int) -> TensorProto:
    return numpy_helper.from_array(np.full(count, value, np.float32), "w")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    ("external_data", "weights", "text_bytes"),
    [
        (True, 40_000, 0),  # the data file does not fit
        (True, 20_000, 200_000),  # the data file fits, the graph does not
        (False, 40_000, 0),
    ],
)
def test_full_disk_leaves_the_old_files_and_nothing_else(
    add_model: Callable, write: Callable, tmp_path: Path, external_data: bool, weights: int, text_bytes: int
) -> None:
    proto = add_model(big(1.0, weights))
    proto.graph.doc_string = "d" * text_bytes
    loaded = model.load(write(proto))
    folder = tmp_path / "out"
    folder.mkdir()
    model.save(model.load(write(add_model(big(2.0, 10_000)))), folder / "m.onnx", external_data=external_data)
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # bytes; stands for a disk with that much left
    try:
        with pytest.raises(EnvironmentLacksError, match="it cannot be written: File too large; free some space"):
            model.save(loaded, folder / "m.onnx", external_data=external_data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


KILLED_SAVES = """
import os, signal, sys, time
from pathlib import Path
import numpy as np, onnx_ir as ir
from deploycompress import model
path, external = Path(sys.argv[1]), sys.argv[2] == "True"
seen = set()
for share in np.random.default_rng(0).uniform(0.0, 1.0, 40):
    loaded = model.load(path)
    first = int(loaded.graph.initializers["w"].const_value.numpy()[0])
    done, told = os.pipe()
    child = os.fork()
    if child == 0:
        for value in range(first + 1, 10**9):
            loaded.graph.initializers["w"].const_value = ir.tensor(np.full(200_000, value, np.float32), name="w")
            model.save(loaded, path, external_data=external)
            os.write(told, b".")
    os.read(done, 1)
    start = time.perf_counter()
    os.read(done, 1)
    time.sleep(share * (time.perf_counter() - start))  # somewhere within the third save
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(done), os.close(told)
    weight = model.load(path).graph.initializers["w"].const_value.numpy()
    assert len(np.unique(weight)) == 1, "a mixture of two saves"
    seen.add(int(weight[0]) - first)
print(min(seen))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("external_data", [True, False])
def test_killed_process_leaves_a_whole_model(add_model: Callable, write: Callable, external_data: bool) -> None:
    path = write(add_model(big(0.0, 200_000)))
    model.save(model.load(path), path, external_data=external_data)
    command = [sys.executable, "-c", KILLED_SAVES, str(path), str(external_data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2  # both finished saves were there after every kill
    model.save(model.load(path), path, external_data=external_data)
    assert len(list(path.parent.glob("*.data"))) == external_data  # the next save removed what the killed ones left


PEAK = """
import sys
from pathlib import Path
from deploycompress import model
def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
source, target, external = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True"
small = model.load(source.with_name("small.onnx"))
model.save(small, target, external_data=external)   # imports and first-use buffers are not what is measured
loaded = model.load(source)
before = peak_bytes()
model.save(loaded, target, external_data=external)
print(peak_bytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory figures of Linux")
@pytest.mark.parametrize("external_data", [True, False])
def test_peak_memory_of_saving_does_not_depend_on_the_weights(
    add_model: Callable, external: Callable, write: Callable, tmp_path: Path, external_data: bool
) -> None:
    count, tensors = 5_000_000, 8  # 8 x 20 MB = 160 MB
    proto = add_model()
    for index in range(tensors):
        weight = external(f"v{index}", (count,), location="w.data", offset=4 * count * index)
        proto.graph.initializer.append(weight)
    path = write(proto)
    write(add_model(big(1.0, 1024)), name="small.onnx")
    with (tmp_path / "w.data").open("wb") as file:
        file.truncate(4 * count * tensors)
    target = tmp_path / "out" / "m.onnx"
    target.parent.mkdir()
    command = [sys.executable, "-c", PEAK, str(path), str(target), str(external_data)]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # Bytes pass through in pieces of a few MB at most; one whole tensor would be 20 MB and all of them 160 MB.
    assert grown < 16_000_000
    assert sum(entry.stat().st_size for entry in target.parent.iterdir()) > 160_000_000
