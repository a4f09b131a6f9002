"""ONNX: one .onnx file (with .onnx.data beside it where the weights are too heavy for one), simplified and checked.

torch's own exporter translates the captured program. Then the graph loses what nobody else should read (stack traces
with the paths of this machine), gets its picture input where one is asked for, is simplified by onnxsim, written beside
its target, checked there by the onnx checker, and put in place.

Weights stay float32: ONNX Runtime gains nothing from float16 on a CPU, and the runtimes that do (TensorRT, QNN,
OpenVINO) convert by themselves, knowing their hardware. `Request.precision` is about Core ML.

Opset 20 is the default, the first with GELU as one operator instead of five: a third of SwiftFormer's nodes. ONNX
Runtime reads it since 1.17 (January 2024), the packages for Android and iOS included, and has a kernel of its own for
it since 1.18. From 21 on a GroupNorm is one node instead of five. A file declares the lowest version of the format (IR)
that its opset allows, since a runtime turns a newer one away without looking at the operators.
"""

from __future__ import annotations

import json
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata as packages
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifact import (
    BATCH,
    Artifact,
    NotConverted,
    TensorSpec,
    batch_symbol,
    check_batch,
    in_one_line,
    program_inputs,
    program_outputs,
    sha256_on_disk,
)
from ..atomic import staging
from ..quiet import quiet
from ..request import Request
from ..saved.session import open_session
from .global_pooling import pool_globally
from .onnx_names import name_interface, name_weights_apart
from .onnx_pictures import take_pictures
from .onnx_simplified import simplified
from .onnx_weights import transpose_when_saved, weight_bytes

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from torch.export import ExportedProgram

NAME = "onnx"
SUFFIX = ".onnx"
EXTRA = "onnx"
PACKAGES = ("onnx", "onnxruntime", "onnxscript", "onnxsim")

OPSETS = range(18, 24)
"""What torch's exporter reaches: 18 is its own, 23 the last that it knows; nothing takes Split-18 back to 17."""
DEFAULT_OPSET = 20
ATTENTION_SINCE = 23
"""The opset that has attention as one operator."""

SINGLE_FILE_BYTES = 2**30
"""A protobuf message ends at 2 GiB, and is in memory twice while it is written. Heavier weights than this get a file of
their own, are written one by one, and the simplifier does not see them."""

MODULE = "fuseport.module"
"""The metadata key under which a node names the PyTorch module it came from."""


def check(request: Request) -> None:
    """Raise NotConverted, in one line, for options or an installation with which no ONNX file can come about."""
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise NotConverted(f'ONNX needs {", ".join(missing)}, not installed here; pip install "fuseport[{EXTRA}]"')
    if request.opset is not None and request.opset not in OPSETS:
        raise NotConverted(f"ONNX opset {request.opset} is not supported; supported: {', '.join(map(str, OPSETS))}")


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

    `metadata` and the labels go into metadata_props. Raises NotConverted where the program cannot become an ONNX file
    of that opset, NotWritten where the disk cannot take it; `target` is then as it was.
    """
    check(request)
    model = _translate(program, request, input_names, output_names)
    modules = _strip(model, program)
    heavy = weight_bytes(model) > SINGLE_FILE_BYTES
    if heavy:
        transpose_when_saved(model)
    if request.image_input is not None:
        take_pictures(model, request.image_input)
    model, simplification = simplified(model, apart=heavy) if request.simplify else (model, "not asked for")
    pool_globally(model)
    _say_modules(model, modules)
    _describe(model, {**metadata, "fuseport.export_id": export_id}, request.labels)
    _lower_format_version(model)
    written = _write(model, target, external=request.external_data or heavy)
    return Artifact(
        path=target,
        format=NAME,
        precision="float32",
        inputs=tuple(_tensor_spec(value, request) for value in model.graph.inputs),
        outputs=tuple(_tensor_spec(value, request) for value in model.graph.outputs),
        bytes=sum(file.stat().st_size for file in written),
        sha256=sha256_on_disk(*written),
        operations=dict(sorted(Counter(node.op_type for node in model.graph).items())),
        export_id=export_id,
        modules={str(node.outputs[0].name): path for node in model.graph if (path := node.metadata_props.get(MODULE))},
        versions={package: packages.version(package) for package in ("torch", *PACKAGES)},
        details={
            "opset": model.opset_imports[""],
            "ir_version": model.ir_version,
            "simplification": simplification,
            "external_data": [file.name for file in written if file != target],
        },
    )


def runner(artifact: Artifact, *, threads: int = 1) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Open the saved file in ONNX Runtime on the CPU; the function maps named inputs to named outputs.

    `threads` compute one operator together; deterministic kernels are asked for.
    """
    session = open_session(artifact.path, threads=threads, deterministic=True)
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))  # pyright: ignore


def _translate(
    program: ExportedProgram, request: Request, input_names: tuple[str, ...], output_names: tuple[str, ...]
) -> ir.Model:
    import torch

    from ..lowering.attention import expand_attention  # it needs torch, which `--help` must not load

    opset = request.opset or DEFAULT_OPSET
    check_batch(program, request)
    program_inputs(program, input_names)  # a number of names that does not fit is said here
    program_outputs(program, output_names)
    with quiet("torch.onnx", "onnxscript", "onnx_ir"):
        try:
            exported = torch.onnx.export(
                expand_attention(program, keep_plain=opset >= ATTENTION_SINCE),
                opset_version=opset,
                verbose=False,
                optimize=False,
            )
            assert exported is not None  # it is None for the old, traced exporter alone
            name_weights_apart(exported.model, {*input_names, *output_names})
            exported.optimize()
        except torch.onnx.OnnxExporterError as error:
            where = _named_in(error, program)
            raise NotConverted(f"torch cannot write this model as ONNX{where}: {in_one_line(error)}") from error
    name_interface(exported.model, input_names, output_names)
    if symbol := batch_symbol(program):
        exported.rename_axes({symbol: BATCH})
    if (written := exported.model.opset_imports[""]) != opset:
        raise NotConverted(f"this model cannot be written in ONNX opset {opset}, only in {written}: ask for that one")
    return exported.model


def _named_in(error: Exception, program: ExportedProgram) -> str:
    """ " at OPERATOR of MODULE (LINE)" for the node that the exporter's error names; empty where none is recognised.

    The exporter names the node of its own graph, in which an operator may be called by a part or more of its name.
    """
    from ..lowering.legalize import place

    found = re.search(r"(?:translating node|While executing) %(\w+)", str(error))
    name = found[1] if found else ""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    alike = [node for node in nodes if name and (node.name in name or name in node.name)]
    node = max(alike, key=lambda node: (node.name == name, len(node.name)), default=None)
    return f" at {node.name} {place(node, program)}" if node is not None else ""


def _strip(model: ir.Model, program: ExportedProgram) -> dict[str, str]:
    """Take out all that the exporter noted beside the graph, stack traces above all; return tensor name → module path.

    The paths come from the scopes that torch noted at a node; where there are none (a rewritten graph has no module
    calls), from the weight that the node reads, since weights are named by the module that owns them. A Split has
    neither: torch makes it after its notes, of a call of the program whose name its outputs begin with.
    """
    from ..lowering.legalize import module_paths  # it needs torch, which `--help` must not load

    modules: dict[str, str] = {}
    calls = module_paths(program)
    for node in model.graph.all_nodes():
        scopes = literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        owners = [
            value.name.rpartition(".")[0]
            for value in node.inputs
            if value is not None and value.name and value.is_initializer()
        ]
        names = [(value.name or "").rpartition("_split_")[0] for value in node.outputs]
        told = [*scopes[-2:-1], *owners, *(calls.get(name, "") for name in names)]
        path = next((path for path in told if path), "")
        modules |= {value.name: path for value in node.outputs if path and value.name}
        for value in (node, *node.outputs, *node.inputs):
            if value is not None:
                value.metadata_props.clear()
    for value in (model, model.graph, *model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    return modules


def _say_modules(model: ir.Model, modules: Mapping[str, str]) -> None:
    for node in model.graph:
        if path := modules.get(node.outputs[0].name or ""):
            node.metadata_props[MODULE] = path


def _describe(model: ir.Model, metadata: Mapping[str, str], labels: tuple[str, ...] | None) -> None:
    named = {**metadata, **({"labels": json.dumps(labels, ensure_ascii=False)} if labels else {})}
    model.metadata_props.clear()
    model.metadata_props.update(sorted(named.items()))


def _lower_format_version(model: ir.Model) -> None:
    """Give the model the lowest IR version that has its opsets; torch always writes 10, too new for older runtimes.

    Notes at nodes came with IR 10, in a field that older readers skip. Functions are written another way since then.
    """
    from onnx.helper import find_min_ir_version_for, make_opsetid

    if not model.functions:
        imported = [make_opsetid(domain, number) for domain, number in model.opset_imports.items()]
        model.ir_version = find_min_ir_version_for(imported, ignore_unknown=True)


def _write(model: ir.Model, target: Path, *, external: bool) -> list[Path]:
    """Save beside the target, let the onnx checker read that file in full, put it in place; return what was written."""
    import onnx
    import onnx_ir as ir

    with staging(target) as (staged,):
        ir.save(model, staged, external_data=f"{target.name}.data" if external else None)
        try:
            onnx.checker.check_model(str(staged), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise NotConverted(f"the ONNX checker refuses what torch wrote: {in_one_line(error)}") from error
        names = [path.name for path in staged.parent.iterdir()]
    return [target.with_name(name) for name in names]


def _tensor_spec(value: ir.Value, request: Request) -> TensorSpec:
    assert value.name
    assert value.dtype is not None
    assert value.shape is not None
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    kind = "image" if request.image_input is not None and value.dtype.name == "UINT8" else "tensor"
    return TensorSpec(value.name, shape, value.dtype.numpy().name, kind)
