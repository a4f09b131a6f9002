"""Core ML: a .mlpackage that holds an ML Program, float16 unless asked otherwise, the same bytes from run to run.

coremltools converts the captured program, after `legalize` has taken out of it what coremltools would convert silently
wrong. Its program is then described (author, licence, where the weights come from), given class labels where they were
asked for, freed of the date that coremltools writes into it, and put in place as one complete folder.

At iOS16 and above a float16 program takes and gives float16 tensors, as coremltools would have it; below, float32.
A picture input is an RGB image of the captured size: Core ML multiplies by 1/255 and adds -mean, per channel. Core ML
runs one picture at a time through such an input (apps pass batches as an MLBatchProvider), so the batch must be 1.
"""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata as packages
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import (
    Artifact,
    NotConverted,
    NotRun,
    TensorSpec,
    check_batch,
    files_of,
    in_one_line,
    program_inputs,
    program_outputs,
    sha256_on_disk,
)
from ..atomic import staging
from ..quiet import quiet
from ..request import Request
from . import classifier, coreml_options, mlpackage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.export import ExportedProgram

NAME = "coreml"
SUFFIX = ".mlpackage"
EXTRA = "coreml"

TARGETS = ("iOS15", "iOS16", "iOS17", "iOS18", "iOS26", "macOS12", "macOS13", "macOS14", "macOS15", "macOS26")
PRECISIONS = ("float16", "float32")


def check(request: Request) -> None:
    """Raise NotConverted, in one line, for options or an installation with which no Core ML model can come about."""
    if find_spec("coremltools") is None:
        raise NotConverted(f'Core ML needs coremltools, not installed here; pip install "fuseport[{EXTRA}]"')
    if request.deployment_target not in TARGETS:
        known = ", ".join(TARGETS)
        raise NotConverted(f"deployment target {request.deployment_target} is not supported; supported: {known}")
    if request.precision not in PRECISIONS:
        raise NotConverted(f"precision {request.precision} is not supported; supported: {', '.join(PRECISIONS)}")
    if request.batch is not None and request.batch.upper is None:
        raise NotConverted("Core ML needs an upper bound for an open batch; give a range, as in --dynamic-batch 1:8")
    if request.batch is not None and (request.labels or request.image_input):
        what = "class labels" if request.labels else "a picture input"
        raise NotConverted(f"Core ML takes one picture at a time with {what}; leave --dynamic-batch out")
    if request.image_input is not None and len(request.image_input.mean) != 3:
        raise NotConverted(f"a Core ML picture has 3 channels, but the model takes {len(request.image_input.mean)}")


def convert(
    program: ExportedProgram,
    target: Path,
    request: Request,
    metadata: Mapping[str, str],
    *,
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    export_id: str,
) -> Artifact:
    """Write `program` (float32, captured by torch.export, left as it is) to `target`; say what was written.

    `metadata` goes into the model's description (see `mlpackage.FIELDS`). Raises NotConverted where the program cannot
    become an ML Program, NotWritten where the disk cannot take it; `target` is then as it was.
    """
    names = {"input_names": input_names, "output_names": output_names, "export_id": export_id}
    return convert_traced(program, target, request, metadata, **names)[0]


def convert_traced(
    program: ExportedProgram,
    target: Path,
    request: Request,
    metadata: Mapping[str, str],
    *,
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    export_id: str,
) -> tuple[Artifact, dict[str, str]]:
    """Like `convert`; with it, tensor name in the package → the node of the legalized program that it came from."""
    check(request)
    check_batch(program, request)
    inputs, outputs = program_inputs(program, input_names), program_outputs(program, output_names)
    with staging(target) as (package,):
        spec, nodes, paths = _translate(program, package, request, inputs, outputs)
        mlpackage.describe(spec, {**metadata, "fuseport.export_id": export_id})
        if request.labels:
            classifier.classify(spec, classifier.logits_of(outputs, request.labels).name, request.labels)
        mlpackage.finish(package, spec)
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    artifact = Artifact(
        path=target,
        format=NAME,
        precision=request.precision,
        inputs=mlpackage.tensor_specs(spec.description.input, inputs),
        outputs=mlpackage.tensor_specs(spec.description.output, outputs),
        bytes=sum(file.stat().st_size for file in files_of(target)),
        sha256=sha256_on_disk(target),
        operations=dict(sorted(Counter(made.type for made in block.operations if made.type != "const").items())),
        export_id=export_id,
        modules={tensor: paths[node] for tensor, node in nodes.items() if paths[node]},
        versions={package: packages.version(package) for package in ("torch", "coremltools")},
        details={
            "deployment_target": request.deployment_target,
            "specification_version": spec.specificationVersion,
            **({"float32": request.float32} if request.float32 else {}),
        },
    )
    return artifact, nodes


def runner(
    artifact: Artifact, *, compute_units: str = "ALL"
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | NotRun:
    """Open the saved package in Core ML on `compute_units` (ALL, CPU_ONLY, CPU_AND_GPU, CPU_AND_NE); macOS only.

    The function maps named inputs to named outputs; a picture is uint8 of shape (1, H, W, 3), the probabilities of a
    classifier come back as one array in the order of the labels.
    """
    if sys.platform != "darwin":
        return NotRun("Core ML prediction needs macOS")
    with quiet("coremltools"):
        import coremltools as ct

        model = ct.models.MLModel(str(artifact.path), compute_units=ct.ComputeUnit[compute_units])
    return lambda feeds: _predict(model, artifact, feeds)


def translate_traced(module: nn.Module, example: Tensor) -> None:
    """Let coremltools alone translate the traced module, to learn whether it can; raises what it raises.

    This is its older route, which `convert` does not take.
    """
    import coremltools as ct
    import torch

    traced = torch.jit.trace(module, example, check_trace=False)
    given = [ct.TensorType(name="image", shape=tuple(example.shape))]
    ct.convert(traced, inputs=given, convert_to="milinternal", minimum_deployment_target=ct.target.iOS16)


def _predict(model: Any, artifact: Artifact, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import numpy as np
    from PIL import Image

    pictures = {given.name for given in artifact.inputs if given.kind == "image"}
    results = model.predict(
        {name: Image.fromarray(value[0]) if name in pictures else value for name, value in feeds.items()}
    )
    labels = classifier.labels_in(model.get_spec())
    return {
        name: np.array([value[label] for label in labels] if isinstance(value, dict) else value)
        for name, value in results.items()
    }


def _translate(
    program: ExportedProgram,
    package: Path,
    request: Request,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> tuple[Any, dict[str, str], dict[str, str]]:
    """Let coremltools write the package; its Model message, tensor name → node, and node → module path."""
    _require_names([tensor.name for tensor in (*inputs, *outputs)])
    with quiet("coremltools"):
        import coremltools as ct
        from coremltools.converters.mil.mil import Builder

        from ..lowering.legalize import legalized, module_paths  # it needs torch, which `--help` must not load

        legal = legalized(program, precision=request.precision, float32=request.float32)
        _require_translations(legal)
        for number, node in enumerate(legal.graph.nodes):
            node.meta["debug_handle"] = number  # coremltools carries it through its passes to the operations it writes
        given = coreml_options.input_types(inputs, request)
        Builder.name_count.clear()  # a conversion that failed leaves its counts, and the next would have other names
        try:
            model: Any = ct.convert(
                legal,
                convert_to="mlprogram",
                inputs=given,
                outputs=[ct.TensorType(name=output.name) for output in outputs],
                minimum_deployment_target=getattr(ct.target, request.deployment_target),
                compute_precision=coreml_options.precision(legal, request),
                pass_pipeline=coreml_options.passes(legal, request),
                package_dir=str(package),
                skip_model_load=True,
            )
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # its temporary folder goes now, and not with a warning later
            if isinstance(error, OSError) or not isinstance(error, Exception):
                raise
            if "filesystem error" in str(error):  # what its C++ part says of a full disk
                raise OSError(errno.ENOSPC, "the disk is full, or cannot be written") from error
            raise NotConverted(f"coremltools cannot convert this model: {in_one_line(error)}") from error
    spec = model.get_spec()
    if (written := [feature.name for feature in spec.description.output]) != [output.name for output in outputs]:
        asked = ", ".join(output.name for output in outputs)
        raise NotConverted(
            f"two of the outputs {asked} are one tensor, which Core ML calls {written[0]}; leave one out"
        )
    return spec, _nodes(model, legal), module_paths(legal)


def _require_translations(program: ExportedProgram) -> None:
    """Raise NotConverted for an operator that coremltools cannot translate, naming it and where the model calls it.

    LSTMs it knows from TorchScript by the name of `lstm`; a captured program calls the same operator `lstm.input`.
    """
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY as known
    from coremltools.converters.mil.frontend.torch.utils import sanitize_op_kind

    from ..lowering.legalize import place

    known.set_func_by_name(known.get_func("lstm"), "lstm.input")
    for node in program.graph.nodes:
        kind = node.target.name() if hasattr(node.target, "name") else getattr(node.target, "__name__", node.target)
        if node.op == "call_function" and sanitize_op_kind(kind) not in known:
            raise NotConverted(
                f"coremltools has no translation of {kind} {place(node, program)}; say it there in other operators, or "
                "leave Core ML out (--format onnx)"
            )


def _require_names(names: list[str]) -> None:
    if bad := [name for name in names if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]:
        raise NotConverted(f"Core ML cannot name a tensor {bad[0]!r}; give a letter or _, then letters, digits and _")
    if len(set(names)) < len(names):
        raise NotConverted(f"Core ML needs names that differ for inputs and outputs, but got {', '.join(names)}")


def _nodes(model: Any, program: ExportedProgram) -> dict[str, str]:
    """Tensor name in the package → name of the node it came from, by the number that each node was given."""
    from coremltools.converters.mil.mil.scope import ScopeSource

    names = [node.name for node in program.graph.nodes]
    return {
        value.name: names[number]
        for made in model._mil_program.functions["main"].operations
        for number in made.scopes.get(ScopeSource.EXIR_DEBUG_HANDLE) or ()
        if made.op_type != "const" and number is not None
        for value in made.outputs
    }
