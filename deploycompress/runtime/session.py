"""model file or bytes -> a session that runs feeds and says where its nodes ran.

Every session of the project is opened here, with explicit threads (ONNX Runtime would size its pool from the host and
ignore container quotas), spinning off by default (it burns the neighbours' time on shared hosts), and errors turned
into one line.

Source: ONNX Runtime session option and configuration keys, `onnxruntime_session_options_config_keys.h`.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deploycompress.errors import EnvironmentLacksError, MissingExtraError, ModelRejectedError
from deploycompress.records.measured import Placement
from deploycompress.records.signature import Signature, TensorSpec
from deploycompress.runtime.threads import available_threads

Feed = Mapping[str, Any]
_Key = tuple[str, str, str]  # name, operator, provider of a node
Shapes = tuple[tuple[int, ...], ...]
Optimization = Literal["none", "basic", "extended", "all"]

CPU = "CPUExecutionProvider"
_DEVICES = {
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "NvTensorRTRTXExecutionProvider": "cuda",
}
"""Providers whose inputs and outputs can stay in the memory of their device."""

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "bool": "bool",
    "string": "str",
}


@dataclass(frozen=True)
class SessionConfig:
    """How to open a session; the defaults suit a shared CPU host.

    Attributes:
        providers: Execution providers in order of preference.
        threads: Intra-op threads; 0 means every CPU the affinity mask and the container quota grant.
        optimization: ONNX Runtime's own graph optimization level at load.
        spinning: Whether idle pool threads busy-wait for work.
        entries: Further session configuration entries by key.
    """

    providers: tuple[str, ...] = (CPU,)
    threads: int = 0
    optimization: Optimization = "all"
    spinning: bool = False
    entries: Mapping[str, str] = field(default_factory=dict)


def onnxruntime() -> Any:  # noqa: ANN401 - the module has no types
    """The onnxruntime module.

    Raises:
        MissingExtraError: No onnxruntime wheel is installed.
    """
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "cpu") from error
    if not hasattr(module, "InferenceSession"):
        raise EnvironmentLacksError(
            "the onnxruntime package is incomplete (two wheels were installed over each other)",
            remedy="uninstall onnxruntime and onnxruntime-gpu, then install one of them",
        )
    return module


class Session:
    """An open model. Use as `session.run(feed)`; outputs come back by name.

    Args:
        model: Path of an ONNX file, or the serialized bytes of one.
        config: How to open it.
        weights_dir: For bytes: the folder that holds external data.
        optimized_path: Where ONNX Runtime writes the graph it will really execute.
        profile_dir: Folder for the profile of `profile()`; profiling is on only where given.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load the model.
        EnvironmentLacksError: A requested execution provider is not in the installed wheel.
    """

    def __init__(
        self,
        model: Path | bytes,
        config: SessionConfig | None = None,
        *,
        weights_dir: Path | None = None,
        optimized_path: Path | None = None,
        profile_dir: Path | None = None,
    ) -> None:
        self.config = config or SessionConfig()
        self.threads = self.config.threads or available_threads()
        ort = onnxruntime()
        missing = [name for name in self.config.providers if name not in ort.get_available_providers()]
        if missing:
            raise EnvironmentLacksError(
                f"execution provider {', '.join(missing)} is not in the installed ONNX Runtime "
                f"(it has {', '.join(ort.get_available_providers())})",
                remedy="install the wheel that has it, e.g. pip install 'deploycompress[gpu]'",
            )
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        levels = ort.GraphOptimizationLevel
        options.graph_optimization_level = {
            "none": levels.ORT_DISABLE_ALL,
            "basic": levels.ORT_ENABLE_BASIC,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "all": levels.ORT_ENABLE_ALL,
        }[self.config.optimization]
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if self.config.spinning else "0")
        for key, value in self.config.entries.items():
            options.add_session_config_entry(key, value)
        if weights_dir is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights_dir))
        if optimized_path is not None:
            options.optimized_model_filepath = str(optimized_path)
        self._profiling = profile_dir is not None
        if profile_dir is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile_dir / "profile")
        name = str(model) if isinstance(model, Path) else "model"
        try:
            self._session = ort.InferenceSession(
                str(model) if isinstance(model, Path) else model, options, providers=list(self.config.providers)
            )
        except _runtime_errors() as error:
            raise ModelRejectedError(f"ONNX Runtime cannot load it: {reason(error)}", where=name) from error
        self._outputs = [out.name for out in self._session.get_outputs()]

    @property
    def signature(self) -> Signature:
        """What the model takes and gives, as ONNX Runtime sees it."""
        return Signature(
            tuple(_spec(arg) for arg in self._session.get_inputs()),
            tuple(_spec(arg) for arg in self._session.get_outputs()),
        )

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Outputs by name for one feed.

        Raises:
            ModelRejectedError: ONNX Runtime refuses the feed or fails in a kernel.
        """
        names = list(outputs) if outputs is not None else self._outputs
        try:
            values = self._session.run(names, dict(feed))
        except _runtime_errors() as error:
            raise ModelRejectedError(f"ONNX Runtime cannot run it: {reason(error)}") from error
        return dict(zip(names, values, strict=True))

    def runner(self, feed: Feed, *, device: str | None = None) -> Callable[[], object]:
        """A callable without Python overhead for timing: `session.runner(feed)()` runs once.

        On a GPU the inputs are copied there once and the outputs stay there (IO binding), so that the runs are timed
        and not the bus; the call returns when the device is done.

        Args:
            feed: The input.
            device: Where ONNX Runtime binds inputs and outputs; that of the provider by default.
        """
        device = device or _DEVICES.get(self.config.providers[0])
        if device is None or self._session.get_providers()[0] != self.config.providers[0]:
            names, feeds, raw = self._outputs, dict(feed), self._session.run
            return lambda: raw(names, feeds)
        binding, value = self._session.io_binding(), onnxruntime().OrtValue
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, value.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0))
        for name in self._outputs:
            binding.bind_output(name, device)
        binding.synchronize_inputs()

        def run() -> object:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            return binding

        return run

    def profile(self) -> Profile:
        """Ends profiling and returns what each node cost and where it ran."""
        if not self._profiling:
            raise ValueError("the session was opened without profile_dir")
        return Profile.read(Path(self._session.end_profiling()))


@dataclass(frozen=True)
class NodeTime:
    """Kernel time of one node of the executed graph.

    Attributes:
        name: Node name in the executed graph.
        op_type: Operator, e.g. "QLinearConv".
        provider: The provider that ran it.
        time_us: Mean over the quietest quarter of the profiled runs, in microseconds.
        inputs: Shape of every input in the first of them.
        outputs: Shape of every output in the first of them.
        least_us: Shortest of all profiled runs, in microseconds.
    """

    name: str
    op_type: str
    provider: str
    time_us: float
    inputs: Shapes = ()
    outputs: Shapes = ()
    least_us: float = 0.0


@dataclass(frozen=True)
class Profile:
    """Per-node times of an executed graph, in order of first execution."""

    nodes: tuple[NodeTime, ...]

    @classmethod
    def read(cls, path: Path) -> Profile:
        """Reads a profile that ONNX Runtime wrote (Chrome trace events; those of a run come before its `model_run`)."""
        runs: list[tuple[float, dict[_Key, list[float]]]] = []
        seen: dict[_Key, tuple[Shapes, Shapes]] = {}
        times: dict[_Key, list[float]] = defaultdict(list)
        for event in json.loads(path.read_text()):
            if event["name"] == "model_run":
                runs.append((event["dur"], times))
                times = defaultdict(list)
            elif event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                args = event["args"]
                key = (event["name"].removesuffix("_kernel_time"), args["op_name"], args.get("provider", ""))
                times[key].append(event["dur"])
                seen.setdefault(key, (_shapes(args, "input_type_shape"), _shapes(args, "output_type_shape")))
        # Other work on the machine lengthens a run as a whole: the quietest quarter says what the nodes cost.
        ordered = [found for _, found in sorted(runs, key=lambda run: run[0])]
        quiet = ordered[: (len(ordered) + 3) // 4]
        spent = {key: _times(quiet, key) or _times(ordered, key) for key in seen}
        least = {key: float(min(_times(ordered, key))) for key in seen}
        return cls(tuple(NodeTime(*key, float(np.mean(spent[key])), *seen[key], least[key]) for key in seen))

    def placement(self, requested: Sequence[str], threads: int) -> Placement:
        """Nodes and share of kernel time per effective provider."""
        nodes: dict[str, int] = defaultdict(int)
        share: dict[str, float] = defaultdict(float)
        for node in self.nodes:
            nodes[node.provider] += 1
            share[node.provider] += node.time_us
        total = sum(share.values()) or 1.0
        return Placement(tuple(requested), dict(nodes), threads, {name: t / total for name, t in share.items()})


def _times(runs: Sequence[Mapping[_Key, list[float]]], key: _Key) -> list[float]:
    return [time for run in runs for time in run.get(key, ())]


def _shapes(args: Mapping[str, Any], key: str) -> Shapes:
    """Shapes of a profile event, e.g. `[{"float": [1, 3]}, {"int64": []}]`; an absent input has no entry."""
    return tuple(tuple(shape) for entry in args.get(key, ()) for shape in entry.values())


def profile(model: Path, feed: Feed, config: SessionConfig | None = None, *, runs: int = 20) -> Profile:
    """Times every node of `model` over `runs` runs of one feed, after as many warm-up runs outside the profile."""
    warm = Session(model, config)
    for _ in range(runs):
        warm.run(feed)
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        session = Session(model, config, profile_dir=Path(folder))
        for _ in range(runs):
            session.run(feed)
        return session.profile()


def reason(error: BaseException) -> str:
    """The sentence of an ONNX Runtime error without its code and source position, on one line."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 400 else text[:397] + "..."


def _spec(arg: Any) -> TensorSpec:  # noqa: ANN401 - onnxruntime.NodeArg has no types
    kind = arg.type
    dtype = _DTYPES.get(kind.removeprefix("tensor(").removesuffix(")"), "") if kind.startswith("tensor(") else ""
    shape = tuple(d if isinstance(d, int | str) else None for d in arg.shape) if dtype else None
    return TensorSpec(arg.name, dtype, shape)


def _runtime_errors() -> tuple[type[BaseException], ...]:
    """Everything `InferenceSession` raises: its own classes share no base below Exception."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*own, ValueError, RuntimeError, TypeError, NotImplementedError)
