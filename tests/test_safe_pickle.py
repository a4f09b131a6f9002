"""Pickles: training state passes as placeholders, and nothing in a file ever runs."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import os
import pathlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fuseport.models.safe_pickle import Placeholder, callables_in, load_pickle
from fuseport.models.weights_file import CheckpointError, open_weights
from torch import nn


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


class BuiltinPayload(Payload):
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return eval, (f"__import__('os').mkdir({str(self.mark)!r})",)


@pytest.mark.parametrize("payload", [Payload, BuiltinPayload])
@pytest.mark.parametrize("how", ["zip", "legacy", "bare", "protocol 4"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, payload: type[Payload], how: str) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "ran"
    content = {"model": {"weight": torch.ones(3)}, "epoch": payload(mark)}
    if how == "bare":
        path.write_bytes(pickle.dumps(content["epoch"]))
    elif how == "protocol 4":
        torch.save(content, path, pickle_protocol=4)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")

    with pytest.raises(CheckpointError) as caught:
        open_weights(path)
    assert not mark.exists()
    if how != "protocol 4":
        name = "posix.mkdir" if payload is Payload else "builtins.eval"
        assert f"would run code: it asks for {name}" in str(caught.value)

    if how == "bare":  # the payload is a real one: the plain unpickler runs it
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.exists()


def test_training_state_passes_as_placeholders(tmp_path: Path) -> None:
    path = tmp_path / "training.pth"
    state = {
        "args": argparse.Namespace(lr=0.1, output=pathlib.Path("/results")),
        "where": pathlib.PurePosixPath("a/b"),
        "metric": np.float64(0.75),
        "history": np.arange(3),
        "began": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC).replace(tzinfo=None),
        "meters": collections.defaultdict(list, {"loss": [1.0]}),
        "weight": torch.ones(3),
    }
    torch.save(state, path)
    content = load_pickle(path, mmap=True)
    assert isinstance(content, dict)
    assert list(content) == list(state)
    assert all(isinstance(content[key], Placeholder) for key in ("args", "where", "metric", "history", "began"))
    assert content["meters"] == {"loss": [1.0]}
    assert type(content["meters"]) is dict
    assert torch.equal(content["weight"], state["weight"])


def test_the_allow_list_is_left_as_it_was(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())  # its order is not fixed
    torch.save({"args": argparse.Namespace(lr=0.1)}, tmp_path / "weights.pth")
    load_pickle(tmp_path / "weights.pth", mmap=True)
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_model_is_refused_with_advice(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.pth"
    torch.save(nn.Sequential(nn.Linear(2, 2)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError, match=r"a whole pickled model.*save the weights alone") as caught:
        load_pickle(path, mmap=zipped)
    assert "torch.nn.modules.container.Sequential" in str(caught.value)


def test_later_protocols_are_named(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "weights.pth", pickle_protocol=4)
    with pytest.raises(pickle.UnpicklingError, match="pickle protocol 4"):
        load_pickle(tmp_path / "weights.pth", mmap=True)


@pytest.mark.parametrize("protocol", [2, 4])
def test_callables_are_read_without_running(tmp_path: Path, protocol: int) -> None:
    stream = io.BytesIO(pickle.dumps([Payload(tmp_path / "ran"), collections.OrderedDict()], protocol=protocol))
    assert callables_in(stream) == ["posix.mkdir", "collections.OrderedDict"]
    assert not (tmp_path / "ran").exists()
