"""The values of an ONNX graph for one input, as they are made, in bounded memory.

A runtime gives the values of a graph all together, when it is through. So the graph is cut into consecutive pieces,
each with a session of its own, which takes what it reads of earlier pieces. However many values are asked for, every
node is run once, and what is held is the values of one piece and those that later ones read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def stream(
    model: Any,
    folder: Path,
    feed: Mapping[str, NDArray],
    wanted: Collection[str],
    size_of: Callable[[str], int],
    limit: int,
) -> Iterator[tuple[str, Any]]:
    """Name and value of each node's result in `wanted`, in the order of the nodes, with the runtime's fusions off.

    `model` is a ModelProto whose external data lie in `folder`; the results of one piece have about `limit` bytes by
    `size_of`. Nothing is run behind the last result that is wanted. Raises what onnxruntime raises.
    """
    nodes = list(model.graph.node)
    reads = [_reads(node) for node in nodes]
    last_read = {name: place for place, names in enumerate(reads) for name in names}
    constants = {node.output[0]: node for node in nodes if node.op_type == "Constant"}
    held: dict[str, Any] = dict(feed)
    for begin, end in _pieces(nodes, wanted, size_of, limit):
        read = set().union(*reads[begin:end])
        made = [name for node in nodes[begin:end] for name in node.output if name]
        crossing = [name for name in made if last_read.get(name, 0) >= end and name not in constants]
        asked = list(dict.fromkeys([*(name for name in made if name in wanted), *crossing]))
        copied = [constants[name] for name in sorted(read & constants.keys() - set(made))]
        given = {name: held[name] for name in held if name in read}
        piece = _graph(model, [*copied, *nodes[begin:end]], given, asked)
        held |= dict(zip(asked, _run(piece, folder, given, asked), strict=True))
        for name in made:
            if name in wanted:
                yield name, held[name]
        held = {name: value for name, value in held.items() if last_read.get(name, -1) >= end}


def _reads(node: Any) -> set[str]:
    """The names that a node reads, and what the graphs inside it may read of the graph around them."""
    graphs = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    ends = [{value.name for value in graph.output} for graph in graphs]
    return set(node.input).union(*ends, *(_reads(deeper) for graph in graphs for deeper in graph.node))


def _pieces(
    nodes: Sequence[Any], wanted: Collection[str], size_of: Callable[[str], int], limit: int
) -> Iterator[tuple[int, int]]:
    """Begin and end of each piece; the last one ends behind the last node with a result in `wanted`."""
    begin = size = 0
    for place, node in enumerate(nodes):
        size += sum(size_of(name) for name in node.output if name in wanted)
        if size >= limit:
            yield begin, place + 1
            begin, size = place + 1, 0
    rest = [place for place in range(begin, len(nodes)) if any(name in wanted for name in nodes[place].output)]
    if rest:
        yield begin, rest[-1] + 1


def _graph(model: Any, nodes: Sequence[Any], given: Mapping[str, Any], asked: Sequence[str]) -> Any:
    """A model of `nodes` alone, with the weights that they read."""
    import onnx

    read = set().union(*map(_reads, nodes))
    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(nodes)
    graph.initializer.extend(weight for weight in model.graph.initializer if weight.name in read)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    graph.input.extend(_declared(name, value) for name, value in given.items())
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    made = onnx.ModelProto(ir_version=model.ir_version, graph=graph)
    made.opset_import.extend(model.opset_import)
    made.functions.extend(model.functions)
    return made


def _declared(name: str, value: Any) -> Any:
    """The declaration of an input that takes `value`: an array, or a sequence of them."""
    from onnx import helper

    if isinstance(value, list):
        kind = helper.np_dtype_to_tensor_dtype(value[0].dtype if value else np.dtype(np.float32))
        return helper.make_tensor_sequence_value_info(name, kind, None)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _run(model: Any, folder: Path, feed: Mapping[str, Any], names: Sequence[str]) -> Sequence[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(names), dict(feed)) if names else ()
