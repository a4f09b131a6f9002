"""Lists, classification, state and random tensors. Branches and loops are tested with the interpreter."""

from __future__ import annotations

import pytest
import torch
from fuseport.mil.ops import classify, control_flow, random, state
from fuseport.mil.ops.operator import State, TensorList, convert


def test_lists_grow_and_unwritten_elements_are_zeros() -> None:
    empty = control_flow.make_list((2,), 1)
    written = control_flow.list_write(empty, 3, torch.ones(2))
    assert int(control_flow.list_length(written)) == 4
    assert int(control_flow.list_length(empty)) == 1
    assert control_flow.list_read(written, 3).tolist() == [1, 1]
    assert control_flow.list_read(written, 1).tolist() == [0, 0]
    scattered = control_flow.list_scatter(written, (0, 2), torch.tensor([[5.0, 5], [6, 6]]))
    assert control_flow.list_gather(scattered, (2, 0)).tolist() == [[6, 6], [5, 5]]


def test_lists_of_open_shape_learn_it_from_an_element() -> None:
    empty = control_flow.make_list(("n", 2), 2)
    with pytest.raises(ValueError, match="never written"):
        control_flow.list_read(empty, 0)
    written = control_flow.list_write(empty, 1, torch.ones(3, 2))
    assert control_flow.list_read(written, 0).tolist() == torch.zeros(3, 2).tolist()


def test_places_outside_a_list_are_refused() -> None:
    with pytest.raises(ValueError, match="index 1 of a list of 1"):
        control_flow.list_read(TensorList((torch.ones(1),)), 1)
    with pytest.raises(ValueError, match="cannot write to index -1"):
        control_flow.list_write(TensorList(()), -1, torch.ones(1))
    with pytest.raises(ValueError, match="elements"):
        control_flow.list_write(TensorList(()), 1 << 40, torch.ones(1))


def test_classify() -> None:
    label, scores = classify.classify(torch.tensor([[0.1, 0.7, 0.2]]), ["a", "b", "c"])
    assert label == "b"
    assert scores["b"] == pytest.approx(0.7)
    with pytest.raises(ValueError, match="2 classes for 3 probabilities"):
        classify.classify(torch.zeros(3), ["a", "b"])


def test_state() -> None:
    place = State(torch.zeros(2))
    before = state.read_state(place)
    assert state.write_state(place, torch.ones(2)) == []
    assert (before.tolist(), state.read_state(place).tolist()) == ([0, 0], [1, 1])


def test_random_tensors_have_their_distribution_and_repeat_with_a_seed() -> None:
    size = (100, 100)
    normal = random.random_normal(size, 2.0, 0.5, 7)
    assert torch.equal(normal, random.random_normal(size, 2.0, 0.5, 7))
    assert abs(float(normal.mean()) - 2) < 0.03
    assert abs(float(normal.std()) - 0.5) < 0.03
    uniform = random.random_uniform(size, -1.0, 3.0)
    assert -1 <= float(uniform.min()) < -0.9
    assert 2.9 < float(uniform.max()) < 3
    assert not torch.equal(uniform, random.random_uniform(size, -1.0, 3.0))
    assert abs(float(random.random_bernoulli(size, 0.2, 1).mean()) - 0.2) < 0.03
    drawn = random.random_categorical(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), "probs", 1000, 1)
    assert drawn.shape == (2, 1000)
    assert drawn[0].tolist() == [1] * 1000
    assert 400 < int(drawn[1].sum()) < 600
    logits = random.random_categorical(torch.tensor([0.0, 50.0]), "logits", 5, 1)
    assert logits.tolist() == [1] * 5


def test_inputs_in_the_form_that_an_operator_wants() -> None:
    vector = torch.tensor([1, 0, 2])
    assert convert(tuple[int, ...], (vector,)) == (1, 0, 2)
    assert convert(tuple[bool, ...], (vector,)) == (True, False, True)
    assert convert(float, (torch.tensor(2),)) == 2.0
    with pytest.raises(TypeError, match="expected str, got Tensor"):
        convert(str, (vector,))
    with pytest.raises(TypeError, match="expected a tensor, got str"):
        convert(torch.Tensor, ("x",))
