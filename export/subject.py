"""The model under export, the inputs on which its files are proven, and what it answers to them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..models import outputs
from ..models.conditioned import drawn
from ..models.inputs import Input, InputError, handed, renamed
from ..models.loaded import Loaded
from ..models.preprocessing import load_folder
from ..models.transfer import Progress
from ..models.variant import Preprocessing
from ..reparam.culprit import culprit, reason_of
from ..reparam.float64 import wide_answers
from ..validate.pictures import normalise, pictures, pictures_uint8
from .job import Job
from .loading import loaded_of
from .proof.samples import answers
from .request import ImageInput

Values = dict[str, NDArray]

STD = "_std_of_the_picture"
"""A buffer beside those of the model: what a picture is divided by, so that it can be folded into the first layer."""

OF_IMAGENET = Preprocessing(size=1, resize=1)
"""The values that pictures are normalised with where a model says nothing of its own."""


@dataclass(frozen=True)
class Subject:
    """A loaded model, ready for capture and for comparison.

    `feed` is what an artifact is given, input by input, sample by sample along the first axis: for a picture normalised
    float32 (N, C, H, W), or with `image_input` uint8 pictures (N, H, W, 3). `reference` is the model's float32 answer
    to it. `preprocessing` is None where only the model's author knows it.
    """

    loaded: Loaded
    preprocessing: Preprocessing | None
    image_input: ImageInput | None
    inputs: str
    feed: Values
    reference: Values
    batch: int = 1
    """Samples that the files take at a time: 1 where their batch is open."""
    choices: tuple[str, ...] = ()
    """The outputs that are labels of tokens, made where the model gives what it chose."""

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(self.feed)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self.reference)

    @property
    def samples(self) -> int:
        return len(next(iter(self.feed.values())))


def subject(job: Job, progress: Progress | None = None) -> Subject:
    """Load the model and its check inputs, and run it once. Raises ValueError with one line for anything unusable."""
    if job.batch_size is not None and job.source.batch not in (None, 1, job.batch_size):
        told = f"--batch-size {job.batch_size} and inputs with a batch of {job.source.batch}"
        raise InputError(f"{told} were both asked for; choose one")
    return subject_of(loaded_of(job.source, progress), job)


def subject_of(loaded: Loaded, job: Job) -> Subject:
    """A model that is loaded already, with the check inputs of `job`, run once."""
    loaded = replace(loaded, inputs=renamed(loaded.inputs, job.input_name))
    image_input = _image_input(job, loaded)
    values, told = _check_inputs(job, loaded)
    feed = {name: _as_pictures(value, image_input) if image_input else value for name, value in values.items()}
    batch = 1 if job.request.batch else job.batch
    asked = Subject(
        loaded=loaded,
        preprocessing=loaded.preprocessing if image_input or job.source.mean or not _is_own(job) else None,
        image_input=image_input,
        inputs=told,
        feed=feed,
        reference={},
        batch=batch,
    )
    reference = _reference(job, loaded, model_input(asked), batch)
    return replace(asked, reference=reference, choices=tuple(reference)[1:] if _chooses(loaded) else ())


def fed(subject: Subject, feed: Values, told: str) -> Subject:
    """The same model on other inputs: `feed` by the model's names, as `Subject.feed` has them; `told` says whence."""
    given = replace(subject, inputs=told, feed=feed)
    return replace(given, reference=answered(given, model_input(given)))


def truth(subject: Subject) -> Values:
    """The model's answer in float64 throughout: the one that the others are measured against."""
    inputs = model_input(subject, torch.float64)
    try:
        found = answers(partial(wide_answers, partial(_called, subject.loaded)), inputs, subject.batch)
    except Exception:  # an LSTM, say, reads its weights where no torch function is called: a copy, then
        exact = replace(subject.loaded, module=copy.deepcopy(subject.loaded.module).double())
        found = answers(partial(_wide_called, exact), inputs, subject.batch)
    return dict(zip(subject.output_names, found, strict=True))


def answered(subject: Subject, inputs: Sequence[Tensor]) -> Values:
    """What the model itself gives for other `inputs` (see `model_input`), in their own precision."""
    found = answers(lambda *given: tree_leaves(_called(subject.loaded, *given)), inputs, subject.batch)
    return dict(zip(subject.output_names, found, strict=True))


def repeats(subject: Subject) -> bool:
    """Whether the model answers the same a second time; one that draws random numbers does not."""
    again = answered(subject, model_input(subject))
    return all(np.array_equal(again[name], value, equal_nan=True) for name, value in subject.reference.items())


def _called(loaded: Loaded, *inputs: Tensor) -> Any:
    positional, named = arguments(loaded, inputs)
    return outputs.tensors(loaded.module(*positional, **named))


def _wide_called(exact: Loaded, *inputs: Tensor) -> list[Tensor]:
    return tree_leaves(_called(exact, *inputs))


def arguments(loaded: Loaded, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Inputs in the order of `loaded.inputs` as the model's forward takes them: by place, and by name."""
    return handed(loaded.inputs, {one.name: value for one, value in zip(loaded.inputs, inputs, strict=True)})


def network_input(subject: Subject) -> tuple[Tensor, ...]:
    """What the captured program takes for the subject's feed: the model's inputs, or with pictures x / 255 - mean."""
    if subject.image_input is None:
        return model_input(subject)
    (feed,) = subject.feed.values()
    centred = replace(subject.image_input, std=(1.0,) * len(subject.image_input.std))
    return (_normalised(feed, centred, torch.float32),)


def model_input(subject: Subject, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """What the model itself takes for the subject's feed, floats in `dtype`; a picture is normalised (N, C, H, W)."""
    if subject.image_input is not None:
        (feed,) = subject.feed.values()
        return (_normalised(feed, subject.image_input, dtype),)
    given = map(torch.from_numpy, subject.feed.values())
    return tuple(value.to(dtype) if value.is_floating_point() else value for value in given)


def captured_form(subject: Subject) -> nn.Module:
    """The module to capture: the model with nothing but tensors for outputs, behind its std where a picture goes in.

    It is a shallow copy with hooks, not a wrapper, so that the paths of its modules are those of the model.
    """
    twin = copy.copy(subject.loaded.module)
    for hooks in ("_forward_pre_hooks", "_forward_hooks"):
        setattr(twin, hooks, OrderedDict(getattr(twin, hooks)))
    twin.register_forward_hook(lambda module, given, output: outputs.tensors(output))
    if subject.image_input is not None:
        twin._buffers = dict(twin._buffers)
        twin._buffers[STD] = torch.tensor(subject.image_input.std).view(1, -1, 1, 1)
        twin.register_forward_pre_hook(lambda module, given: (given[0] / getattr(module, STD),), prepend=True)
    return twin


def _image_input(job: Job, loaded: Loaded) -> ImageInput | None:
    if job.image_input is None:
        return None
    how = loaded.preprocessing
    if how is None or loaded.inputs[0].shape[0] != 3:
        told = ", ".join(one.told(job.batch) for one in loaded.inputs)
        raise ValueError(f"--image-input needs a model of one picture of 3 channels, (N, 3, H, W); it takes {told}")
    return ImageInput(how.mean, how.std, how.colour, job.image_input)


def _check_inputs(job: Job, loaded: Loaded) -> tuple[Values, str]:
    """What the model takes, by input name, as many samples as asked for, and a line that says where they come from."""
    checks, first = job.checks, loaded.inputs[0]
    if checks.images is not None:
        if loaded.preprocessing is None:
            raise ValueError(f"--images needs a model of one picture; this one takes {first.told(job.batch)}")
        found, names = load_folder(checks.images, loaded.preprocessing, limit=checks.samples)
        return {first.name: found.numpy()}, f"{len(names)} pictures of {checks.images.name}"
    values = {one.name: _drawn(one, job, loaded.preprocessing) for one in loaded.inputs}
    if all(one.is_map for one in loaded.inputs):
        return values, f"{checks.samples} synthetic pictures with natural statistics, seed {checks.seed}"
    kinds = ", ".join(f"{one.name}: {_kind(one)}" for one in loaded.inputs)
    return values, f"{checks.samples} samples ({kinds}), seed {checks.seed}"


def _drawn(one: Input, job: Job, how: Preprocessing | None) -> NDArray:
    count, seed = job.checks.samples, job.checks.seed
    if one.is_map:
        channels, height, width = one.shape
        how = how or OF_IMAGENET
        raw = pictures(count, height, width, seed=seed, channels=channels)
        return normalise(raw, _per_channel(how.mean, channels), _per_channel(how.std, channels))
    if one.is_raw_picture:
        channels, height, width = one.shape
        return pictures_uint8(count, height, width, seed=seed, channels=channels)
    (found,) = (value.numpy() for value in drawn((replace(one, name=f"check.{one.name}"),), count, seed).values())
    return found.astype(np.float32) if one.dtype == "float32" else found


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Three channels have their own value; any other number shares the average."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _kind(one: Input) -> str:
    if one.is_map or one.is_raw_picture:
        return "pictures"
    return {"float32": "noise", "bool": "true or false"}.get(one.dtype, f"whole numbers below {one.limit}")


def _as_pictures(normalised: NDArray, image_input: ImageInput) -> NDArray:
    """uint8 pictures (N, H, W, 3), the normalisation undone."""
    mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (image_input.mean, image_input.std))
    pixels = np.clip(np.rint((normalised * std + mean) * 255), 0, 255).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def _normalised(feed: NDArray, image_input: ImageInput, dtype: torch.dtype) -> Tensor:
    """uint8 pictures (N, H, W, 3) as the model itself takes them: (N, C, H, W)."""
    mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (image_input.mean, image_input.std))
    return torch.from_numpy((feed.transpose(0, 3, 1, 2) / 255.0 - mean) / std).to(dtype)


def _reference(job: Job, loaded: Loaded, inputs: Sequence[Tensor], batch: int) -> Values:
    """The outputs by name, in float32. Raises InputError where the model does not take its inputs."""
    names: tuple[str, ...] = ()

    def run(*given: Tensor) -> list[Tensor]:
        nonlocal names
        positional, named = arguments(loaded, given)
        output = loaded.module(*positional, **named)
        names = names or _names(job, loaded, output)
        return tree_leaves(outputs.tensors(output))

    try:
        found = answers(run, inputs, batch)
    except outputs.OutputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's module raises for an input that is not its own
        taken = ", ".join(one.told(batch) for one in loaded.inputs)
        reason = reason_of(error)
        where = culprit(error)
        at = f" (at {where})" if where else ""
        raise InputError(f"{loaded.variant.name} does not take {taken}: {reason}{at}; give what it takes") from error
    return dict(zip(names, found, strict=True))


def _names(job: Job, loaded: Loaded, output: Any) -> tuple[str, ...]:
    """What the outputs are called: as asked, else by their place in what the model gives; never like an input."""
    found = outputs.names(output)
    if not _is_own(job):
        found = _usual_names(len(found), chooses=_chooses(loaded), stem=job.output_name)
    elif job.output_name is not None:
        asked = tuple(name.strip() for name in job.output_name.split(","))
        found = tuple(f"{asked[0]}{at}" for at in range(1, len(found) + 1)) if len(asked) == 1 < len(found) else asked
        if len(found) != len(outputs.names(output)):
            count = len(outputs.names(output))
            raise outputs.OutputError(f"--output-name gives {len(found)} names, but the model has {count} outputs")
    taken = {one.name for one in loaded.inputs}
    return tuple(f"{name}_out" if name in taken else name for name in found)


def _usual_names(count: int, *, chooses: bool, stem: str | None) -> tuple[str, ...]:
    """The outputs of the variants: logits, with the choices of tokens where they are asked for; or stages of maps."""
    if chooses:
        return (stem or "logits", *(f"choices_{number}" for number in range(1, count)))
    return (stem or "logits",) if count == 1 else tuple(f"{stem or 'stage'}{at}" for at in range(1, count + 1))


def _chooses(loaded: Loaded) -> bool:
    return bool(getattr(loaded.module, "choices", False))


def _is_own(job: Job) -> bool:
    """Whether the model is the user's, out of a file or from Python."""
    return job.source.is_file or job.source.module is not None
