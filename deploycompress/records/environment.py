"""The machine and software that a measurement was made on; figures from two environments are not comparable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """One machine at one moment; None where the operating system does not tell.

    Attributes:
        cpu: Model name of the processor.
        machine: Architecture, e.g. "x86_64".
        cpu_flags: Instruction-set extensions that matter to 8-bit and float kernels.
        cpus: Logical processors of the machine.
        affinity: Processors this process may use.
        cgroup_cpus: Processors the container's quota grants, or None where there is no limit.
        threads: Threads that can really run: the least of the above.
        memory_bytes: Memory of the machine.
        governor: Frequency governor of the first processor.
        load_average: Runnable processes over the last minute, when the environment was read.
        os: Operating system and kernel.
        python: Version of Python.
        onnxruntime: Version of ONNX Runtime.
        providers: Execution providers of the installed wheel.
        numpy: Version of numpy.
    """

    cpu: str
    machine: str
    cpu_flags: tuple[str, ...]
    cpus: int
    affinity: tuple[int, ...]
    cgroup_cpus: float | None
    threads: int
    memory_bytes: int | None
    governor: str | None
    load_average: float | None
    os: str
    python: str
    onnxruntime: str
    providers: tuple[str, ...]
    numpy: str
