"""Turn the logits of a saved ML Program into what an app asks of a classifier: the name of the class, and how sure.

An app hands such a model to Vision and gets observations with an identifier and a confidence of 0..1, so the program
must end in probabilities: a softmax is added after the logits, then Core ML's `classify`. Every output that the model
had stays as it was (the logits too), and two come before them:

    classLabel         the name of the most probable class
    classLabel_probs   a dictionary from each name to its probability

coremltools' own ClassifierConfig takes the logits for probabilities, drops them from the outputs, and fails on a model
with a second output; so the few operations are written into the program here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..artifact import NotConverted, TensorSpec

LABEL = "classLabel"
PROBABILITIES = "classLabel_probs"

STRING, FLOAT32, FLOAT64, INT32 = 2, 11, 12, 23
"""Core ML's own numbers for these types (DataType in MIL.proto); the messages are filled here without coremltools."""


def logits_of(outputs: Sequence[TensorSpec], labels: Sequence[str]) -> TensorSpec:
    """The first output of shape (1, number of labels). Raises NotConverted where there is none, or a name is taken."""
    if taken := {LABEL, PROBABILITIES} & {output.name for output in outputs}:
        raise NotConverted(f"with labels, {' and '.join(sorted(taken))} is Core ML's; give your output another name")
    found = next((output for output in outputs if output.shape == (1, len(labels))), None)
    if found is None:
        shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
        raise NotConverted(
            f"{len(labels)} labels need an output of shape (1, {len(labels)}), but the model has {shapes}"
        )
    return found


def classify(spec: Any, logits: str, labels: Sequence[str]) -> None:
    """Add softmax and classify to `spec` (a Model with an mlProgram), after its tensor `logits`; `labels` differ."""
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    (type_of_logits,) = (value.type for made in block.operations for value in made.outputs if value.name == logits)
    _constant(block, f"{LABEL}_axis", -1)
    softmax = _operation(block, "softmax", f"{LABEL}_softmax", x=logits, axis=f"{LABEL}_axis")
    softmax.outputs.add(name=f"{LABEL}_softmax", type=type_of_logits)
    _constant(block, f"{LABEL}_dtype", "fp32")
    cast = _operation(block, "cast", f"{LABEL}_fp32", x=f"{LABEL}_softmax", dtype=f"{LABEL}_dtype")
    cast.outputs.add(name=f"{LABEL}_fp32", type=type_of_logits).type.tensorType.dataType = FLOAT32
    _classify(block, f"{LABEL}_fp32", labels)
    block.outputs[:] = [LABEL, PROBABILITIES, *block.outputs]
    _describe(spec.description)


def labels_in(spec: Any) -> tuple[str, ...]:
    """The class names of a saved classifier, in the order of its logits; none for another model."""
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return tuple(
        value.immediateValue.tensor.strings.values[0]
        for made in block.operations
        if made.type == "classify"
        for value in made.inputs["classes"].arguments[0].value.immediateValue.list.values
    )


def _operation(block: Any, kind: str, name: str, **inputs: str) -> Any:
    operation = block.operations.add(type=kind)
    _immediate(operation.attributes["name"], name)
    for key, value in inputs.items():
        operation.inputs[key].arguments.add(name=value)
    return operation


def _constant(block: Any, name: str, value: int | str) -> None:
    operation = _operation(block, "const", name)
    _immediate(operation.attributes["val"], value)
    operation.outputs.add(name=name, type=operation.attributes["val"].type)


def _immediate(message: Any, value: int | str) -> None:
    """Let a MIL Value hold one scalar."""
    message.type.tensorType.dataType = INT32 if isinstance(value, int) else STRING
    tensor = message.immediateValue.tensor
    (tensor.ints if isinstance(value, int) else tensor.strings).values.append(value)


def _classify(block: Any, probabilities: str, labels: Sequence[str]) -> None:
    operation = _operation(block, "classify", f"{LABEL}_classify", probabilities=probabilities)
    classes = operation.inputs["classes"].arguments.add().value
    classes.type.listType.type.tensorType.dataType = STRING
    classes.type.listType.length.constant.size = len(labels)
    for label in labels:
        _immediate(classes.immediateValue.list.values.add(), label)
    operation.outputs.add(name=LABEL).type.tensorType.dataType = STRING
    dictionary = operation.outputs.add(name=PROBABILITIES).type.dictionaryType
    dictionary.keyType.tensorType.dataType = STRING
    dictionary.valueType.tensorType.dataType = FLOAT64


def _describe(description: Any) -> None:
    outputs = [type(output).FromString(output.SerializeToString()) for output in description.output]
    del description.output[:]
    description.output.add(name=LABEL).type.stringType.SetInParent()
    description.output.add(name=PROBABILITIES).type.dictionaryType.stringKeyType.SetInParent()
    description.output.extend(outputs)
    description.predictedFeatureName = LABEL
    description.predictedProbabilitiesName = PROBABILITIES
