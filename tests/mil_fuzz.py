"""Damages packages at random and demands that loading and predicting either work or say what is wrong in one line.

    python tests/mil_fuzz.py --cases 100000 --seed 1

Four kinds of damage: bytes of the model file, bytes of the weights, text of the manifest, and single fields of the
program, which survive the parser and reach the code behind it. A finding is printed with its seed: any exception other
than a MilError, a MilError of several lines, or a case that takes longer than TIME_LIMIT_S.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuseport import mil
from mil_build import Program, Ref, set_type

TIME_LIMIT_S = 20.0
NUMBERS = (
    0,
    1,
    2,
    3,
    5,
    10,
    13,
    21,
    35,
    64,
    128,
    1 << 31,
    (1 << 31) - 1,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
    -1,
    -2,
)


@dataclass(frozen=True)
class Finding:
    """A damaged package that did something else than work or be refused in one line."""

    seed: int
    what: str


def rich_program() -> Program:
    """One program with most that a file can hold: blobs, packed types, control flow, lists, pictures, labels."""
    program = Program(8)
    program.input("x", (1, 4, 6, 5), "fp16")
    generator = np.random.default_rng(0)
    weight = program.const(generator.standard_normal((4, 4, 3, 3)).astype(np.float16), blob=True)
    program.op("conv", ("a", (1, 4, 6, 5), "fp16"), x=Ref("x"), weight=Ref(weight), pad_type="same", strides=[1, 1])
    operation = program.block.operations.add(type="const")
    program.set_blob(operation.attributes["val"], np.zeros((4, 4), np.uint8), "uint4", bytes(range(8)))
    operation.outputs.add(name="indices").type.CopyFrom(operation.attributes["val"].type)
    lut = program.const(generator.standard_normal((1, 1, 16, 1)).astype(np.float16), blob=True)
    program.op("constexpr_lut_to_dense", ("w", (4, 4), "fp16"), indices=Ref("indices"), lut=Ref(lut))
    program.op("reduce_mean", ("m", (1, 4), "fp16"), x=Ref("a"), axes=[2, 3], keep_dims=False)
    program.op("linear", ("l", (1, 4), "fp16"), x=Ref("m"), weight=Ref("w"))
    program.op("reduce_sum", ("s", (), "fp16"), x=Ref("l"), axes=[0, 1], keep_dims=False)
    program.op("greater", ("yes", (), "bool"), x=Ref("s"), y=np.float16(0))
    branch = program.op("cond", ("c", (1, 4), "fp16"), pred=Ref("yes"))
    for name, kind in (("t", "exp"), ("f", "square")):
        block = branch.blocks.add()
        program.op(kind, (name, (1, 4), "fp16"), block=block, x=Ref("l"))
        block.outputs.append(name)
    _add_loop(program)
    program.op("reshape", ("flat", (120,), "fp16"), x=Ref("a"), shape=[-1])
    program.op("slice_by_index", ("cut", (10,), "fp16"), x=Ref("flat"), begin=[0], end=[20], stride=[2])
    program.op("gather", ("g", (2, 2), "fp16"), x=Ref("cut"), indices=[[1, 2], [3, -1]], axis=0)
    program.op("pad", ("p", (4, 5), "fp16"), x=Ref("g"), pad=[1, 1, 1, 2], mode="reflect", constant_val=np.float16(0))
    program.op("resize_bilinear", ("r", (1, 4, 9, 9), "fp16"), x=Ref("a"), target_size_height=9, target_size_width=9)
    program.op("topk", [("top", (3,), "fp16"), ("at", (3,), "int32")], x=Ref("cut"), k=3, axis=0)
    program.op("fill", ("full", (2, 3), "fp32"), shape=[2, 3], value=np.float32(1.5))
    for name, dtype in (
        ("y", "fp16"),
        ("p", "fp16"),
        ("r", "fp16"),
        ("top", "fp16"),
        ("at", "int32"),
        ("full", "fp32"),
    ):
        program.output(name, dtype)
    return program


def _add_loop(program: Program) -> None:
    """y: c doubled three times."""
    zero = program.const(np.int32(0))
    loop = program.op("while_loop", [("i", (), "int32"), ("y", (1, 4), "fp16")], loop_vars=Ref(zero, "c"))
    condition, body = loop.blocks.add(), loop.blocks.add()
    for block, suffix in ((condition, "a"), (body, "b")):
        set_type(block.inputs.add(name=f"i_{suffix}").type, "int32", ())
        set_type(block.inputs.add(name=f"v_{suffix}").type, "fp16", (1, 4))
    program.op("less", ("more", (), "bool"), block=condition, x=Ref("i_a"), y=np.int32(3))
    condition.outputs.append("more")
    program.op("add", ("next_i", (), "int32"), block=body, x=Ref("i_b"), y=np.int32(1))
    program.op("add", ("next_v", (1, 4), "fp16"), block=body, x=Ref("v_b"), y=Ref("v_b"))
    body.outputs.extend(["next_i", "next_v"])


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, removed or repeated, or the end cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(max(1, len(changed)))
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randint(1, 16)]
            case 2:
                changed[at:at] = changed[at : at + chance.randint(1, 16)]
            case _ if chance.random() < 0.2:
                del changed[at:]
            case _:
                width = chance.choice((1, 2, 4, 8))
                changed[at : at + width] = (chance.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


def damage_message(message: Any, chance: random.Random) -> None:
    """One field somewhere below `message` changed."""
    while True:
        found = [(f, v) for f, v in message.ListFields()]
        if not found:
            return
        field, value = chance.choice(found)
        if chance.random() < 0.03:
            message.ClearField(field.name)
            return
        repeated = hasattr(value, "append") or hasattr(value, "keys") or hasattr(value, "add")
        if field.message_type is not None and not repeated:
            message = value
            continue
        if repeated and _step_into(message, field, value, chance) is None:
            return
        if repeated:
            message = _step_into(message, field, value, chance) or message
            continue
        _replace(message, field, chance)
        return


def _step_into(message: Any, field: Any, value: Any, chance: random.Random) -> Any:
    """An element of a repeated field to go on with, or None after changing the field itself."""
    if hasattr(value, "keys"):
        return value[chance.choice(list(value.keys()))] if hasattr(value, "get") and field.message_type else None
    if not len(value):
        return None
    at = chance.randrange(len(value))
    if field.message_type is not None and chance.random() < 0.95:
        return value[at]
    if field.message_type is not None:
        value.add().CopyFrom(value[at]) if chance.random() < 0.5 else value.__delitem__(at)
    elif chance.random() < 0.3:
        del value[at]
    else:
        with suppress(ValueError, TypeError):
            value[at] = _other(value[at], chance)
    return None


def _replace(message: Any, field: Any, chance: random.Random) -> None:
    """Another value for a field; one that the field cannot hold leaves it as it was."""
    with suppress(ValueError, TypeError):
        setattr(message, field.name, _other(getattr(message, field.name), chance))


def _other(value: Any, chance: random.Random) -> Any:
    """Another value of the same kind, at the edges of its range."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice(NUMBERS[:12])
    if isinstance(value, float):
        return chance.choice((0.0, -1.0, 1e30, float("inf"), float("nan"), 1e-30))
    if isinstance(value, bytes):
        return damage_bytes(value, chance)
    words = ("", "x", "a", "w", "indices", "relu", "conv", "reshape", "custom", "fp16", "../x", "y" * 5000, "n\nn")
    return chance.choice(words)


def damage(path: Path, pristine: Path, chance: random.Random) -> None:
    """Make `path` a damaged copy of `pristine`."""
    shutil.copytree(pristine, path)
    inner = path / "Data" / "com.apple.CoreML"
    kind = chance.random()
    if kind < 0.6:
        file = inner / "model.mlmodel"
        message = mil.schema.model_message()
        message.ParseFromString(file.read_bytes())
        for _ in range(chance.randint(1, 3)):
            damage_message(message, chance)
        file.write_bytes(message.SerializeToString())
        return
    file = (inner / "model.mlmodel", inner / "weights" / "weight.bin", path / "Manifest.json")[int(kind * 100) % 3]
    file.write_bytes(damage_bytes(file.read_bytes(), chance))


def trial(path: Path) -> str | None:
    """Load and run the package; what is wrong with how that went, or None."""
    began = time.perf_counter()
    try:
        model = mil.load(path)
        inputs = {f.name: np.ones(f.shape or (), np.float32) for f in model.inputs if f.kind == "tensor" and _small(f)}
        model.predict(inputs)
    except mil.MilError as error:
        if "\n" in str(error):
            return f"message of several lines: {error!r}"
    except Exception as error:  # that is what is looked for
        return f"{type(error).__name__}: {error}"
    took = time.perf_counter() - began
    return f"took {took:.1f} s" if took > TIME_LIMIT_S else None


def _small(feature: mil.Feature) -> bool:
    count = 1
    for n in feature.shape or ():
        count *= n
    return 0 <= count <= 1_000_000 and all(n >= 0 for n in feature.shape or ())


def fuzz(cases: int, seed: int, folder: Path) -> list[Finding]:
    """Run `cases` damaged packages, each with a seed of its own."""
    pristine = rich_program().save(folder / "pristine.mlpackage")
    complaint = trial(pristine)
    assert complaint is None, complaint
    findings = []
    for case in range(seed, seed + cases):
        path = folder / "damaged.mlpackage"
        damage(path, pristine, random.Random(case))
        complaint = trial(path)
        if complaint is not None:
            findings.append(Finding(case, complaint))
        shutil.rmtree(path)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description="fuzz the package loader and the interpreter")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        findings = fuzz(asked.cases, asked.seed, Path(folder))
    for finding in findings:
        sys.stdout.write(f"seed {finding.seed}: {finding.what[:300]}\n")
    sys.stdout.write(f"{asked.cases} cases, {len(findings)} findings\n")


if __name__ == "__main__":
    main()
