"""What a request means in coremltools' own terms: what is rounded, which passes run, how the inputs are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..artifact import BATCH, NotConverted, TensorSpec
from ..request import BatchRange, Request

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def precision(program: ExportedProgram, request: Request) -> Any:
    """What is rounded to half precision: everything but for the nodes that are `kept_wide`."""
    import coremltools as ct
    from coremltools.converters.mil.mil.scope import ScopeSource

    from ..lowering.legalize import kept_wide

    wide = kept_wide(program, request.float32)
    kept = {number for number, node in enumerate(program.graph.nodes) if node.name in wide}
    if request.precision == "float32" or not kept:
        return ct.precision[request.precision.upper()]

    def rounded(made: Any) -> bool:
        return not kept.intersection(made.scopes.get(ScopeSource.EXIR_DEBUG_HANDLE) or ())

    return ct.transform.FP16ComputePrecision(op_selector=rounded)


def passes(program: ExportedProgram, request: Request) -> Any:
    """coremltools' own passes, without two that change the result.

    One makes a batch norm of variance 1 out of a product and a sum per channel, whose epsilon then takes off 5e-6: lost
    in float16, not in float32. The other moves indices to 16 bits also where the indexed dimension has more entries.
    """
    import coremltools as ct

    from ..lowering.legalize import indexes_beyond_int16

    passes = ct.PassPipeline()
    if request.precision == "float32":
        passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    if indexes_beyond_int16(program):
        passes.remove_passes({"common::add_int16_cast"})
    return passes


def input_types(inputs: tuple[TensorSpec, ...], request: Request) -> list[Any]:
    """One coremltools type for each input; a picture where one was asked for. Raises NotConverted for what has none."""
    import coremltools as ct
    import numpy as np

    batch = request.batch or BatchRange()
    open_size = ct.RangeDim(batch.lower, batch.upper or 1, default=batch.lower)
    types: list[Any] = []
    for given in inputs:
        if given.dtype == "uint8":
            raise NotConverted(
                f"Core ML takes no tensor of bytes, as input {given.name} is; let the model take float32 or int32, or "
                "a picture with --image-input"
            )
        shape = tuple(open_size if size == BATCH else size for size in given.shape)
        # left alone, a type follows the precision of the program, and coremltools would do that to integers too
        dtype = None if given.dtype.startswith("float") else np.int32
        types.append(ct.TensorType(name=given.name, shape=shape, dtype=dtype))
    if request.image_input is not None:
        fitting = [at for at, given in enumerate(inputs) if len(given.shape) == 4 and given.shape[:2] == (1, 3)]
        if len(fitting) != 1:
            raise NotConverted(
                f"a picture input needs one input of shape (1, 3, H, W), but the model has {len(fitting)}; "
                "leave --image-input out"
            )
        given = inputs[fitting[0]]
        types[fitting[0]] = ct.ImageType(
            name=given.name,
            shape=given.shape,
            scale=1 / 255,
            bias=[-mean for mean in request.image_input.mean],
            color_layout=ct.colorlayout[request.image_input.colour],
        )
    return types
