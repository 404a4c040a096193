"""recipe.yaml <-> Recipe: the ordered steps of a whole chain with their parameters; unknown keys are refused by name.

Paths follow one rule. What a step writes (`output`, and the report files of `bench`) lies in `out`. What a step reads
is the file an earlier step wrote, where the text is the same; every other path, `out` itself and `file.py:function` are
relative to the folder of the recipe (`flow.placing` applies the rule). `module:function` is an importable module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_serializer, model_validator

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.formats import ActivationBits, Algorithm, Bits, Kind, Layout, Levels
from deploycompress.records.pruning import Allocation, Score
from deploycompress.records.recipe_blocks import Frozen, flatten
from deploycompress.records.recipe_compressing import Compression, LowRank, Qat, Units
from deploycompress.records.recipe_methods import BLOCKS, Hinton, Method
from deploycompress.records.recipe_regimes import Labels, Regime
from deploycompress.records.steps import Level


class Hyperparameters(Frozen):
    """How a network is trained; shared by `train` and `distill`.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per forward pass.
        lr: Peak learning rate.
        optimizer: `sgd` has momentum 0.9 (Nesterov).
        schedule: How the rate falls after the warm-up.
        warmup: Share of all updates over which the rate rises linearly from 0.
        weight_decay: Decoupled for adamw, L2 otherwise.
        accumulate: Batches per update.
        clip_norm: Largest gradient norm; None for no limit.
        precision: Element type of the forward pass.
        seed: Of the initial weights, the order of the samples and dropout.
        group_by_length: Batches of samples of about the same number of tokens (needs an input `attention_mask`).
        keep: The weights written: of the best epoch on `eval`, or of the last epoch.
        patience: Epochs without a better one on `eval` after which training ends; None for all epochs.
        tensorboard: Write TensorBoard event files beside the log (needs the extra `logs`).
        initial: Checkpoint to start from; None for the weights that the factory makes.
        fresh: Submodules that `initial` is not loaded into, such as the head of a new task.
        freeze: Submodules that are not trained.
    """

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    accumulate: int = Field(default=1, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = Field(default=0, ge=0)
    group_by_length: bool = False
    keep: Literal["best", "last"] = "best"
    patience: int | None = Field(default=None, ge=1)
    tensorboard: bool = False
    initial: str | None = None
    fresh: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()


class Train(Hyperparameters):
    """`model` (factory) and `data` (function) -> checkpoint `output`; `eval` chooses the best epoch.

    `compress` makes the network smaller meanwhile.
    """

    kind: Literal["train"] = "train"
    model: str
    data: str
    eval: str | None = None
    output: str
    regime: Regime = Field(default_factory=Labels)
    compress: Compression | None = None

    @model_validator(mode="after")
    def _compresses_what_was_trained(self) -> Train:
        if isinstance(self.compress, Qat | Units | LowRank) and self.initial is None:
            raise ValueError(f"compress: {self.compress.kind} begins with a trained network; give it as initial")
        if isinstance(self.compress, Qat) and self.regime.kind != "labels":
            raise ValueError("compress: qat has the float network as teacher; leave regime out")
        if isinstance(self.compress, Qat) and self.freeze:
            raise ValueError("compress: qat trains every layer; leave freeze out")
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return (self.output,)


class Distill(Hyperparameters):
    """`teacher` with its checkpoint teaches `student` by `method`: (1 - alpha) CE + alpha T^2 KL where none is named.

    `baseline` also trains the student without the teacher under the same budget, and reports both. `cache_logits`
    computes the logits of the teacher once; switch it off where samples x tokens x classes floats do not fit in memory.
    """

    kind: Literal["distill"] = "distill"
    teacher: str
    teacher_checkpoint: str
    student: str
    data: str
    eval: str | None = None
    output: str
    temperature: float = Field(default=4.0, gt=0)
    alpha: float = Field(default=0.9, ge=0, le=1)
    baseline: bool = False
    cache_logits: bool = True
    method: Method = Field(default_factory=Hinton)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return (self.output,)


class Export(Frozen):
    """`source` (factory, checkpoint folder, `.pt2` or hub id) -> ONNX file `output`."""

    kind: Literal["export"] = "export"
    source: str
    checkpoint: str | None = None
    output: str
    opset: int | None = Field(default=None, ge=7)
    exporter: Literal["auto", "dynamo", "legacy", "optimum"] = "auto"
    dynamic_batch: bool = True
    input: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return (self.output,)


class Optimize(Frozen):
    """Exact rewrites of `model` for the target -> `output`."""

    kind: Literal["optimize"] = "optimize"
    model: str
    output: str
    data: str | None = None
    preprocess: str | None = None
    level: Level = "full"
    skip: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return (self.output,)


class Quantize(Frozen):
    """`model` with the samples `calib` -> `output`, with the options of the command (`dynamic` is `form: dynamic`).

    `eval` with `max_drop` (1% or 0.01), or `min_agreement`, is the accuracy it must keep; `budget` the seconds it may
    look for layers to widen or leave float. `allow_slower` accepts a file for its size alone.
    """

    kind: Literal["quantize"] = "quantize"
    model: str
    output: str
    form: Kind = "static"
    layout: Layout = "qdq"
    activation_bits: ActivationBits = 8
    bits: Bits | None = None
    block: int | None = Field(default=None, ge=0)
    levels: Levels = "uniform"
    algorithm: Algorithm = "nearest"
    calib: str | None = None
    calibration: str | None = None
    preprocess: str | None = None
    tokenizer: str | None = None
    dynamic: bool = False
    ranges: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    exclude: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)
    eval: str | None = None
    labels: str | None = None
    metric: str | None = None
    eval_limit: int | None = Field(default=None, ge=1)
    max_drop: str | float | None = None
    min_agreement: str | float | None = None
    budget: float | None = Field(default=None, ge=0)
    allow_slower: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return (self.output,)


class Prune(Frozen):
    """`model` with the samples `calib` -> `output` with fewer channels, with the options of the command.

    How much goes: `ratio`, `speedup` (1.5x or 1.5), or what `max_drop` (1% or 0.01, with `eval`) or `min_agreement`
    leave; beside another amount these two are gates.
    """

    kind: Literal["prune"] = "prune"
    model: str
    output: str
    ratio: float | None = Field(default=None, gt=0, lt=1)
    speedup: str | float | None = None
    max_drop: str | float | None = None
    min_agreement: str | float | None = None
    allocate: Allocation | None = None
    score: Score | None = None
    calib: str | None = None
    preprocess: str | None = None
    tokenizer: str | None = None
    limit: int | None = Field(default=None, ge=1)
    exclude: tuple[str, ...] = ()
    round_to: int | None = Field(default=None, ge=1)
    repair: bool = True
    eval: str | None = None
    labels: str | None = None
    metric: str | None = None
    eval_limit: int | None = Field(default=None, ge=1)
    budget: float | None = Field(default=None, ge=0)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return (self.output,)


class Bench(Frozen):
    """Latency, size and accuracy of `models` side by side; the first is the baseline."""

    kind: Literal["bench"] = "bench"
    models: tuple[str, ...] = Field(min_length=1)
    eval: str | None = None
    preprocess: str | None = None
    labels: str | None = None
    providers: tuple[str, ...] = ()
    threads: int | None = Field(default=None, ge=0)
    batch: int = Field(default=1, ge=1)
    rounds: int | None = Field(default=None, ge=1)
    json_path: str | None = Field(default=None, alias="json")
    markdown: str | None = None
    html: str | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the step writes, as the recipe writes it."""
        return tuple(path for path in (self.json_path, self.markdown, self.html) if path is not None)


Step = Annotated[
    Annotated[Train | Distill | Export | Optimize | Prune | Quantize | Bench, Field(discriminator="kind")],
    BeforeValidator(flatten("a step", "'export:' with 'source:' and 'output:'")),
]

_KINDS: dict[str, type[Frozen]] = {
    "train": Train,
    "distill": Distill,
    "export": Export,
    "optimize": Optimize,
    "prune": Prune,
    "quantize": Quantize,
    "bench": Bench,
}


class Recipe(Frozen):
    """A whole chain.

    Attributes:
        name: What the run is called in reports.
        target: Name of a shipped target profile, or a TOML file of your own.
        out: Folder of everything the steps write, relative to the recipe.
        steps: In the order they run.
    """

    name: str = Field(min_length=1)
    target: str
    out: str
    steps: tuple[Step, ...] = Field(min_length=1)

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        steps = [
            {step.kind: step.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"kind"})}
            for step in self.steps
        ]
        return {"name": self.name, "target": self.target, "out": self.out, "steps": steps}

    @model_validator(mode="after")
    def _writes_each_file_once(self) -> Recipe:
        written = [path for step in self.steps for path in step.outputs]
        for path in written:
            if written.count(path) > 1:
                raise ValueError(f"two steps write {path!r}")
        return self


def load(path: Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        UsageError: Unreadable, not YAML, or a wrong value; the message names the key.
        UnknownNameError: An unknown key or step; the nearest names are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the recipe: {reason}", where=str(path)) from error
    return parse(text, where=str(path))


def parse(text: str, *, where: str = "recipe") -> Recipe:
    """A Recipe from YAML text; raises as `load`."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"not valid YAML: {error}", where=where) from error
    if not isinstance(value, dict):
        raise UsageError("a recipe is a mapping with the keys name, target, out and steps", where=where)
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise _plain(error, where) from error


def dump(recipe: Recipe) -> str:
    """The recipe as YAML text; `parse(dump(recipe)) == recipe`."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _plain(error: ValidationError, where: str) -> UsageError:
    """The first fault of a validation as one sentence that names the key."""
    first = error.errors()[0]
    location, message = [str(part) for part in first["loc"]], first["msg"].removeprefix("Value error, ")
    located = where
    if location[:1] == ["steps"] and location[1:]:
        located = f"{where}: " + ", ".join([f"step {int(location[1]) + 1}", *location[2:]])
    elif location:
        located = f"{where}: {location[0]}"
    block = next((key for key in location[3:4] if key in BLOCKS), None)
    if first["type"] == "union_tag_invalid":
        known = _KINDS if block is None else BLOCKS[block]
        return UnknownNameError(block or "step", first["ctx"]["tag"], known, where=located)
    if first["type"] == "extra_forbidden":
        owner: type[Frozen] = _KINDS[location[2]] if location[0] == "steps" else Recipe
        owner = owner if block is None else BLOCKS[block][location[4]]
        keys = [field.alias or name for name, field in owner.model_fields.items() if name != "kind"]
        return UnknownNameError("key", location[-1], keys, where=located)
    if first["type"] == "missing":
        return UsageError("the key is missing", where=located)
    return UsageError(message, where=located)
