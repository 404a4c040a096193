"""The passes, in order, as plain tuples. To add a pass: one file, one test file, one line here."""

from __future__ import annotations

from deploycompress.passes.base import Pass
from deploycompress.passes.batched_transposes import BatchedTransposes
from deploycompress.passes.cancel_transposes import CancelTransposes
from deploycompress.passes.common_subexpressions import ShareSubexpressions
from deploycompress.passes.constant_targets import ConstantTargets
from deploycompress.passes.dead_code import RemoveDeadCode
from deploycompress.passes.eliminate_noops import EliminateNoOps
from deploycompress.passes.encoder_form import EncoderForm
from deploycompress.passes.fold_affine import FoldAffine
from deploycompress.passes.fold_batchnorm import FoldBatchNormalization
from deploycompress.passes.fold_constants import FoldConstants
from deploycompress.passes.fold_embeddings import FoldEmbeddings
from deploycompress.passes.fold_matmul_scale import FoldMatMulScale
from deploycompress.passes.fold_pad import FoldPad
from deploycompress.passes.gelu_form import RewriteGelu
from deploycompress.passes.global_average_pool import ReduceMeanToGlobalAveragePool
from deploycompress.passes.hard_activations import RecogniseHardActivations
from deploycompress.passes.inline_branches import InlineBranches
from deploycompress.passes.inline_functions import InlineFunctions
from deploycompress.passes.lift_constants import LiftConstants
from deploycompress.passes.matmul_to_gemm import MatMulToGemm
from deploycompress.passes.merge_casts import MergeCasts
from deploycompress.passes.merge_clamps import MergeClamps
from deploycompress.passes.merge_views import MergeViews
from deploycompress.passes.pointwise_conv import MatMulToPointwiseConv
from deploycompress.passes.resize_scales import ResizeByScales
from deploycompress.passes.share_initializers import ShareInitializers
from deploycompress.passes.strip_unused import StripUnused
from deploycompress.passes.unique_names import UniqueNames
from deploycompress.records.steps import Level
from deploycompress.targets import Target

# Run on every model as it is opened: rewrites move values between scopes, and none of them may be captured by mistake.
NORMALIZE: tuple[Pass, ...] = (UniqueNames(),)

# Forms without which the other passes would not see what is there; a dead node counts as a reader.
PREPARE: tuple[Pass, ...] = (InlineFunctions(), LiftConstants(), RemoveDeadCode())
# The same operations on the same numbers, fewer of them: outputs stay equal bit for bit.
SIMPLIFY: tuple[Pass, ...] = (
    FoldConstants(),
    InlineBranches(),
    ConstantTargets(),
    MergeCasts(),
    EliminateNoOps(),
    MergeViews(),
    CancelTransposes(),
)
# Shapes again, as far as the symbols of the signature say; then what they tell about rows.
TRANSFORMER: tuple[Pass, ...] = (
    ConstantTargets(trust_symbols=True),
    FoldEmbeddings(),
    BatchedTransposes(),
    EncoderForm(),
)
# Arithmetic moved into weights: outputs stay equal up to rounding.
GENERAL: tuple[Pass, ...] = (MatMulToGemm(), RewriteGelu(), FoldMatMulScale())
# Activations before FoldAffine, which takes the + 3 of a HardSigmoid for a bias.
CONVOLUTIONAL: tuple[Pass, ...] = (
    MergeClamps(),
    RecogniseHardActivations(),
    FoldBatchNormalization(),
    FoldAffine(),
    FoldPad(),
    ResizeByScales(),
)
# A linear layer that the int8 kernels take as a Gemm; as a float it is faster as a convolution where images flow.
FLOAT_ONLY: tuple[Pass, ...] = (MatMulToPointwiseConv(),)
# Last: sharing a weight keeps the folding passes away from it.
TIDY: tuple[Pass, ...] = (ShareInitializers(), ShareSubexpressions(), RemoveDeadCode(), StripUnused())
# Worth nothing to a float model; an int8 chain needs it. Run by `quantize`, not by `optimize`.
BEFORE_INT8: tuple[Pass, ...] = (ReduceMeanToGlobalAveragePool(),)

# What an int8 graph stands on: compared, but not timed one by one.
BEFORE_QUANTIZATION: tuple[Pass, ...] = PREPARE + SIMPLIFY + TRANSFORMER + GENERAL + CONVOLUTIONAL + BEFORE_INT8 + TIDY

EVERY_PASS: tuple[Pass, ...] = (
    NORMALIZE + PREPARE + SIMPLIFY + TRANSFORMER + GENERAL + CONVOLUTIONAL + FLOAT_ONLY + BEFORE_INT8 + TIDY
)


def for_target(target: Target, level: Level = "full") -> tuple[Pass, ...]:
    """The exact float rewrites for `target`, in order.

    Args:
        target: The device; its kernels decide which forms are worth writing.
        level: `tidy` stores and computes nothing twice and drops what nothing uses; `basic` also computes now what
            needs no input and removes what changes nothing, all bit for bit; `full` also moves arithmetic into weights.
    """
    del target  # every rewrite here helps on all of them; what differs between targets is quantization
    match level:
        case "tidy":
            return PREPARE + TIDY
        case "basic":
            return PREPARE + SIMPLIFY + TIDY
        case "full":
            return PREPARE + SIMPLIFY + TRANSFORMER + GENERAL + CONVOLUTIONAL + FLOAT_ONLY + TIDY
