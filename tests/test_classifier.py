"""The end of a classifier, as coremltools itself would write it where it can, and where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools
import pytest
import torch
from coremltools.proto import MIL_pb2
from fuseport.export.artifact import NotConverted, TensorSpec
from fuseport.export.formats import classifier, to_coreml
from fuseport.export.quiet import quiet
from fuseport.export.request import Request
from programs import NAMES, Net, captured, net
from torch import nn

LABELS = ("ant", "bee", "crane", "dog", "elk")


def block_of(spec: Any) -> Any:
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return block


def made(folder: Path, request: Request) -> Any:
    target = folder / "net.mlpackage"
    to_coreml.convert(net(), target, request, {}, **NAMES)
    return coremltools.utils.load_spec(str(target))


def of_coremltools(folder: Path) -> Any:
    """The same net with its softmax in the model, and coremltools' own ClassifierConfig."""
    program = captured(nn.Sequential(Net(), nn.Softmax(-1)), torch.zeros(1, 3, 8, 8)).run_decompositions({})
    with quiet("coremltools"):
        model: Any = coremltools.convert(
            program,
            convert_to="mlprogram",
            inputs=[coremltools.TensorType(name="image")],
            outputs=[coremltools.TensorType(name="p")],
            minimum_deployment_target=coremltools.target.iOS16,
            classifier_config=coremltools.ClassifierConfig(list(LABELS), predicted_probabilities_output="p"),
            package_dir=str(folder / "theirs.mlpackage"),
            skip_model_load=True,
        )
        return model.get_spec()


def shape_of(operation: Any) -> Any:
    """An operation without its names: type, inputs by key, types of its outputs, constants inside."""
    outputs = [value.type.SerializeToString(deterministic=True) for value in operation.outputs]
    constants = [
        binding.value.SerializeToString(deterministic=True)
        for key in sorted(operation.inputs)
        for binding in operation.inputs[key].arguments
        if binding.HasField("value")
    ]
    value = operation.attributes["val"].SerializeToString(deterministic=True) if operation.type == "const" else b""
    return operation.type, sorted(operation.inputs), outputs, constants, value


def test_the_end_is_what_coremltools_writes(tmp_path: Path) -> None:
    ours, theirs = made(tmp_path, Request(labels=LABELS)), of_coremltools(tmp_path)
    assert [shape_of(made) for made in block_of(ours).operations[-5:]] == [
        shape_of(made) for made in block_of(theirs).operations[-5:]
    ]
    assert list(block_of(theirs).outputs) == ["classLabel", "classLabel_probs"]
    assert list(block_of(ours).outputs) == ["classLabel", "classLabel_probs", "logits"]
    assert list(ours.description.output)[:2] == list(theirs.description.output)
    assert ours.description.predictedFeatureName == theirs.description.predictedFeatureName
    assert ours.description.predictedProbabilitiesName == theirs.description.predictedProbabilitiesName


def test_the_numbers_of_the_types_are_core_mls() -> None:
    value = MIL_pb2.DataType.Value
    ours = (classifier.STRING, classifier.FLOAT32, classifier.FLOAT64, classifier.INT32)
    assert ours == (value("STRING"), value("FLOAT32"), value("FLOAT64"), value("INT32"))


def test_labels_can_be_read_again(tmp_path: Path) -> None:
    spec = made(tmp_path, Request())
    assert classifier.labels_in(spec) == ()
    classifier.classify(spec, "logits", LABELS)
    assert classifier.labels_in(spec) == LABELS


def test_every_name_in_the_program_is_given_once(tmp_path: Path) -> None:
    names = [
        value.name for made in block_of(made(tmp_path, Request(labels=LABELS))).operations for value in made.outputs
    ]
    assert len(names) == len(set(names))


def test_the_logits_are_the_first_output_that_fits() -> None:
    features, logits = TensorSpec("features", (1, 8), "float32"), TensorSpec("logits", (1, 5), "float32")
    other = TensorSpec("other", (1, 5), "float32")
    assert classifier.logits_of((features, logits, other), LABELS) == logits
    with pytest.raises(
        NotConverted, match=r"5 labels need an output of shape \(1, 5\), but the model has features \(1, 8\)"
    ):
        classifier.logits_of((features,), LABELS)


@pytest.mark.parametrize("name", ["classLabel", "classLabel_probs"])
def test_an_output_with_a_name_of_core_mls_is_refused(name: str) -> None:
    with pytest.raises(NotConverted, match=f"with labels, {name} is Core ML's; give your output another name"):
        classifier.logits_of((TensorSpec(name, (1, 5), "float32"),), LABELS)
