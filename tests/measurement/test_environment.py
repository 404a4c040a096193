from __future__ import annotations

import os

import numpy as np
import onnxruntime

from deploycompress.measurement.environment import cpu_info, environment


def test_environment_tells_this_machine() -> None:
    found = environment()
    assert found.onnxruntime == onnxruntime.__version__
    assert found.numpy == np.__version__
    assert found.affinity == tuple(sorted(os.sched_getaffinity(0)))
    assert 1 <= found.threads <= len(found.affinity) <= found.cpus
    assert "CPUExecutionProvider" in found.providers
    assert found.cpu


def test_x86_flags_are_read_and_filtered() -> None:
    text = "processor\t: 0\nmodel name\t: Some CPU\nflags\t: fpu avx2 avx512_vnni\n\nmodel name\t: Other\n"
    assert cpu_info(text) == ("Some CPU", ("avx2", "avx512_vnni"))


def test_arm_features_are_read_and_the_part_stands_for_a_name() -> None:
    text = "processor\t: 0\nFeatures\t: fp asimd asimddp crc32\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    assert cpu_info(text) == ("Arm implementer 0x41 part 0xd0b", ("asimd", "asimddp"))


def test_system_without_cpuinfo_says_nothing() -> None:
    assert cpu_info("") == ("", ())
