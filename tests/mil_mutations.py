"""Single faults, written into a saved package: each is what a converter's slip would leave in the file.

A mutation changes the program's message or the weights in place and says what it did, or returns None where the package
has no place for it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuseport.mil.ops.slicing import slice_ranges
from fuseport.mil.schema import model_message

Mutation = Callable[["Saved", random.Random], str | None]


@dataclass
class Saved:
    """A package in memory: its message, and its weight file."""

    message: Any
    weights: bytearray

    @property
    def block(self) -> Any:
        """The operations of its one function."""
        (function,) = self.message.mlProgram.functions.values()
        return function.block_specializations[function.opset]

    def operations(self, *types: str) -> list[Any]:
        return [o for o in self.block.operations if o.type in types]

    def constant(self, name: str) -> Any | None:
        """The stored value of the constant `name`, None for a computed value."""
        for operation in self.block.operations:
            if operation.type == "const" and operation.outputs[0].name == name:
                return operation.attributes["val"]
        return None

    def parameter(self, operation: Any, key: str) -> Any | None:
        """The inline tensor message of a constant input, None where it is missing or computed."""
        if key not in operation.inputs:
            return None
        stored = self.constant(operation.inputs[key].arguments[0].name)
        return None if stored is None else stored.immediateValue.tensor

    def weight(self, operation: Any, key: str) -> np.ndarray | None:
        """A writable view of a weight in the weight file."""
        if key not in operation.inputs:
            return None
        stored = self.constant(operation.inputs[key].arguments[0].name)
        if stored is None or stored.WhichOneof("value") != "blobFileValue":
            return None
        code, size, start = struct.unpack_from("<4xIQQ", self.weights, stored.blobFileValue.offset)
        dtype = {1: np.float16, 2: np.float32}.get(code)
        if dtype is None:
            return None
        shape = [d.constant.size for d in stored.type.tensorType.dimensions]
        count = size // np.dtype(dtype).itemsize
        return np.frombuffer(self.weights, dtype, count, start).reshape(shape)

    def all_weights(self) -> Iterator[np.ndarray]:
        for operation in self.block.operations:
            for key in operation.inputs:
                found = self.weight(operation, key)
                if found is not None and found.size > 8:
                    yield found


def read(package: Path) -> Saved:
    """The package at `package`, apart from its manifest."""
    folder = package / "Data" / "com.apple.CoreML"
    message = model_message()
    message.ParseFromString((folder / "model.mlmodel").read_bytes())
    return Saved(message, bytearray((folder / "weights" / "weight.bin").read_bytes()))


def write(saved: Saved, package: Path) -> None:
    """Put message and weights into the package at `package`."""
    folder = package / "Data" / "com.apple.CoreML"
    (folder / "model.mlmodel").write_bytes(saved.message.SerializeToString())
    (folder / "weights" / "weight.bin").write_bytes(bytes(saved.weights))


def weight_value(saved: Saved, chance: random.Random) -> str | None:
    found = chance.choice(list(saved.all_weights())).reshape(-1)
    at = chance.randrange(found.size)
    found[at] *= found.dtype.type(1.05)
    return f"one of {found.size} values times 1.05"


def weight_sign(saved: Saved, chance: random.Random) -> str | None:
    found = chance.choice(list(saved.all_weights())).reshape(-1)
    at = chance.randrange(found.size)
    found[at] = -found[at]
    return f"the sign of one of {found.size} values"


def weight_zeroed(saved: Saved, chance: random.Random) -> str | None:
    found = chance.choice(list(saved.all_weights())).reshape(-1)
    found[chance.randrange(found.size)] = 0
    return f"one of {found.size} values zeroed"


def rows_swapped(saved: Saved, chance: random.Random) -> str | None:
    found = chance.choice([w for w in saved.all_weights() if w.ndim > 1])
    a, b = chance.sample(range(len(found)), 2)
    found[[a, b]] = found[[b, a]]
    return f"two output channels of {found.shape} exchanged"


def columns_swapped(saved: Saved, chance: random.Random) -> str | None:
    wide = [w for w in saved.all_weights() if w.ndim > 1 and w.shape[1] > 1]
    found = chance.choice(wide)
    a, b = chance.sample(range(found.shape[1]), 2)
    found[:, [a, b]] = found[:, [b, a]]
    return f"two input channels of {found.shape} exchanged"


def classes_swapped(saved: Saved, chance: random.Random) -> str | None:
    last = saved.operations("linear")[-1]
    weight, bias = saved.weight(last, "weight"), saved.weight(last, "bias")
    if weight is None:
        return None
    a, b = chance.sample(range(len(weight)), 2)
    weight[[a, b]] = weight[[b, a]]
    if bias is not None:
        bias[[a, b]] = bias[[b, a]]
    return f"classes {a} and {b} exchanged"


def transposed(saved: Saved, chance: random.Random) -> str | None:
    square = [w for w in saved.all_weights() if w.ndim >= 2 and w.shape[0] == w.shape[1] > 1]
    if not square:
        return None
    found = chance.choice(square)
    found[:] = found.swapaxes(0, 1).copy()
    return f"{found.shape} transposed"


def mirrored(saved: Saved, chance: random.Random) -> str | None:
    kernels = [w for w in saved.all_weights() if w.ndim == 4 and w.shape[-1] > 1]
    found = chance.choice(kernels)
    axis = chance.choice((2, 3))
    found[:] = np.flip(found, axis).copy()
    return f"kernel {found.shape} mirrored on axis {axis}"


def one_kernel_turned(saved: Saved, chance: random.Random) -> str | None:
    kernels = [w for w in saved.all_weights() if w.ndim == 4 and w.shape[-1] == w.shape[-2] > 1]
    found = chance.choice(kernels)
    at = chance.randrange(len(found))
    found[at] = found[at].swapaxes(-1, -2).copy()
    return f"kernel {at} of {found.shape} turned"


def narrowed(saved: Saved, chance: random.Random) -> str | None:
    wide = [w for w in saved.all_weights() if w.dtype == np.float32]
    if not wide:
        return None
    found = chance.choice(wide)
    found[:] = found.astype(np.float16)
    return f"{found.shape} rounded to float16"


def bias_lost(saved: Saved, chance: random.Random) -> str | None:
    biased = [o for o in saved.operations("conv", "linear") if "bias" in o.inputs]
    operation = chance.choice(biased)
    del operation.inputs["bias"]
    return f"the bias of {operation.outputs[0].name} lost"


def _number_changed(saved: Saved, chance: random.Random, key: str, *types: str) -> str | None:
    """One element of an integer or boolean parameter changed."""
    sites = [(o, saved.parameter(o, key)) for o in saved.operations(*types)]
    sites = [(o, t) for o, t in sites if t is not None]
    if not sites:
        return None
    operation, tensor = chance.choice(sites)
    field = tensor.WhichOneof("value")
    values = getattr(tensor, field).values
    at = chance.randrange(len(values))
    values[at] = not values[at] if field == "bools" else values[at] + chance.choice((1, -1))
    return f"{key} of {operation.outputs[0].name} changed at {at}"


def pad_changed(saved: Saved, chance: random.Random) -> str | None:
    return _number_changed(saved, chance, "pad", "conv", "max_pool")


def stride_changed(saved: Saved, chance: random.Random) -> str | None:
    return _number_changed(saved, chance, "strides", "conv", "max_pool")


def dilation_changed(saved: Saved, chance: random.Random) -> str | None:
    sites = [o for o in saved.operations("conv") if (w := saved.weight(o, "weight")) is not None and w.shape[-1] > 1]
    operation = chance.choice(sites)
    tensor = saved.parameter(operation, "dilations")
    if tensor is None:
        return None
    tensor.ints.values[chance.randrange(2)] += 1
    return f"dilations of {operation.outputs[0].name} changed"


def groups_changed(saved: Saved, chance: random.Random) -> str | None:
    return _number_changed(saved, chance, "groups", "conv")


def axis_changed(saved: Saved, chance: random.Random) -> str | None:
    key, types = chance.choice(
        (("axis", ("softmax", "concat", "split")), ("axes", ("reduce_mean", "layer_norm", "expand_dims")))
    )
    return _number_changed(saved, chance, key, *types)


def slice_moved(saved: Saved, chance: random.Random) -> str | None:
    return _number_changed(saved, chance, chance.choice(("begin", "end")), "slice_by_index")


def flag_flipped(saved: Saved, chance: random.Random) -> str | None:
    return _number_changed(saved, chance, chance.choice(("transpose_x", "transpose_y")), "matmul")


def axes_permuted(saved: Saved, chance: random.Random) -> str | None:
    sites = [o for o in saved.operations("transpose") if saved.parameter(o, "perm") is not None]
    operation = chance.choice(sites)
    tensor = saved.parameter(operation, "perm")
    assert tensor is not None
    values = list(tensor.ints.values)
    a, b = chance.sample(range(len(values)), 2)
    values[a], values[b] = values[b], values[a]
    tensor.ints.values[:] = values
    return f"perm of {operation.outputs[0].name} changed"


def epsilon_changed(saved: Saved, chance: random.Random) -> str | None:
    sites = [o for o in saved.operations("layer_norm", "batch_norm") if saved.parameter(o, "epsilon") is not None]
    if not sites:
        return None
    operation = chance.choice(sites)
    tensor = saved.parameter(operation, "epsilon")
    assert tensor is not None
    if tensor.WhichOneof("value") == "bytes":
        tensor.bytes.values = (np.frombuffer(tensor.bytes.values, np.float16) * np.float16(4)).tobytes()
    else:
        tensor.floats.values[0] *= 1.5
    return f"epsilon of {operation.outputs[0].name} changed"


def gelu_approximated(saved: Saved, chance: random.Random) -> str | None:
    operation = chance.choice(saved.operations("gelu"))
    tensor = saved.parameter(operation, "mode")
    if tensor is None:
        return None
    tensor.strings.values[0] = chance.choice(("TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"))
    return f"{operation.outputs[0].name} approximated"


def activation_replaced(saved: Saved, chance: random.Random) -> str | None:
    operation = chance.choice(saved.operations("gelu", "relu", "sigmoid"))
    before = operation.type
    operation.type = chance.choice([t for t in ("silu", "relu", "tanh", "sigmoid", "identity") if t != before])
    if "mode" in operation.inputs:
        del operation.inputs["mode"]
    return f"{before} became {operation.type}"


def operands_swapped(saved: Saved, chance: random.Random) -> str | None:
    operation = chance.choice(saved.operations("sub", "matmul", "real_div"))
    x, y = (operation.inputs[k].arguments[0].name for k in "xy")
    operation.inputs["x"].arguments[0].name, operation.inputs["y"].arguments[0].name = y, x
    return f"operands of {operation.outputs[0].name} exchanged"


def parts_swapped(saved: Saved, chance: random.Random) -> str | None:
    operation = chance.choice(saved.operations("concat"))
    names = [a.name for a in operation.inputs["values"].arguments]
    for argument, name in zip(operation.inputs["values"].arguments, reversed(names), strict=True):
        argument.name = name
    return f"parts of {operation.outputs[0].name} exchanged"


def results_swapped(saved: Saved, chance: random.Random) -> str | None:
    operation = chance.choice(saved.operations("split"))
    a, b = chance.sample(range(len(operation.outputs)), 2)
    first, second = operation.outputs[a].name, operation.outputs[b].name
    operation.outputs[a].name, operation.outputs[b].name = second, first
    return f"results {a} and {b} of a split exchanged"


def residual_dropped(saved: Saved, chance: random.Random) -> str | None:
    sites = [o for o in saved.operations("add") if not any(saved.constant(o.inputs[k].arguments[0].name) for k in "xy")]
    operation = chance.choice(sites)
    kept = operation.inputs[chance.choice("xy")].arguments[0].name
    operation.type = "identity"
    operation.inputs["x"].arguments[0].name = kept
    del operation.inputs["y"]
    return f"{operation.outputs[0].name} keeps one operand only"


def operator_replaced(saved: Saved, chance: random.Random) -> str | None:
    pairs = {"add": "sub", "sub": "add", "mul": "add", "reduce_mean": "reduce_sum", "max_pool": "avg_pool"}
    operation = chance.choice(saved.operations(*pairs))
    before, operation.type = operation.type, pairs[operation.type]
    return f"{before} {operation.outputs[0].name} became {operation.type}"


def type_narrowed(saved: Saved, chance: random.Random) -> str | None:
    """One result of a float32 program declared as float16: only its arithmetic changes, not its graph."""
    sites = [
        o
        for o in saved.operations("conv", "linear", "matmul", "layer_norm", "gelu", "softmax", "add")
        if o.outputs[0].type.tensorType.dataType == 11 and o.outputs[0].name not in saved.block.outputs
    ]
    if not sites:
        return None
    operation = chance.choice(sites)
    operation.outputs[0].type.tensorType.dataType = 10
    return f"{operation.outputs[0].name} declared float16"


def meaning(saved: Saved) -> list[tuple[Any, ...]]:
    """What each operation does, in a form that is equal for packages that compute the same by definition.

    A slice is its index ranges: an end that a mask or a squeeze overrides says nothing. A maximum over windows is where
    they begin and how many there are: padding counts as minus infinity, so more of it behind the last window changes
    nothing. All else is taken literally.
    """
    shapes = {o.name: _shape(o.type) for op in saved.block.operations for o in op.outputs}
    (function,) = saved.message.mlProgram.functions.values()
    shapes.update({i.name: _shape(i.type) for i in function.inputs})
    return [_meaning(saved, o, shapes) for o in saved.block.operations if o.type != "const"]


def _shape(type_: Any) -> tuple[int, ...]:
    return tuple(d.constant.size for d in type_.tensorType.dimensions)


def _meaning(saved: Saved, operation: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[Any, ...]:
    given = {k: [a.name for a in v.arguments] for k, v in operation.inputs.items()}
    constants: dict[str, Any] = {}
    for key, names in list(given.items()):
        stored = saved.constant(names[0]) if len(names) == 1 else None
        if stored is not None:
            del given[key]
            weight = saved.weight(operation, key)
            constants[key] = _plain(stored) if weight is None else weight.tobytes()
    x = shapes.get(operation.inputs["x"].arguments[0].name, ()) if "x" in operation.inputs else ()
    if operation.type == "slice_by_index":
        constants = {"ranges": slice_ranges(x, **{k: v for k, v in constants.items() if v})}
    if operation.type == "max_pool" and constants["pad_type"] == "custom":
        pad = constants.pop("pad")
        sides = zip(x[2:], pad[::2], pad[1::2], constants["kernel_sizes"], constants["strides"], strict=True)
        constants["windows"] = [(before, (n + before + after - k) // s) for n, before, after, k, s in sides]
    outputs = [(o.name, o.type.SerializeToString()) for o in operation.outputs]
    return operation.type, sorted(given.items()), sorted(constants.items()), outputs


def _plain(stored: Any) -> Any:
    tensor = stored.immediateValue.tensor
    field = tensor.WhichOneof("value")
    values = getattr(tensor, field).values if field else ()
    if stored.type.tensorType.dimensions:
        return values if isinstance(values, bytes) else tuple(values)
    return values if isinstance(values, bytes) else values[0]


MUTATIONS: tuple[Mutation, ...] = (
    weight_value,
    weight_sign,
    weight_zeroed,
    rows_swapped,
    columns_swapped,
    classes_swapped,
    transposed,
    mirrored,
    one_kernel_turned,
    narrowed,
    bias_lost,
    pad_changed,
    stride_changed,
    dilation_changed,
    groups_changed,
    axis_changed,
    slice_moved,
    flag_flipped,
    axes_permuted,
    epsilon_changed,
    gelu_approximated,
    activation_replaced,
    operands_swapped,
    parts_swapped,
    results_swapped,
    residual_dropped,
    operator_replaced,
    type_narrowed,
)


def one_channel_wrong(package: Path, place: int) -> str:
    """Make the first output channel of the convolution at `place` 1.5 % larger; the name of its tensor."""
    saved = read(package)
    convolution = saved.operations("conv")[place]
    weight = saved.weight(convolution, "weight")
    assert weight is not None
    weight[0] *= np.float16(1.015)
    write(saved, package)
    return convolution.outputs[0].name
