"""The model under export, the inputs on which its files are proven, and what it answers to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..models.loaded import Loaded, load
from ..models.preprocessing import load_folder
from ..models.transfer import Progress
from ..models.variant import Preprocessing
from ..validate.pictures import pictures
from .float64 import wide_answers
from .job import Job
from .request import ImageInput

Values = dict[str, NDArray]


@dataclass(frozen=True)
class Subject:
    """A loaded model, ready for capture and for comparison.

    `feed` is what an artifact is given, sample by sample along the first axis: normalised float32 (N, C, H, W), or with
    `image_input` uint8 pictures (N, H, W, 3). `reference` is the model's float32 answer to it.
    """

    loaded: Loaded
    preprocessing: Preprocessing
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


class BehindStd(nn.Module):
    """The model behind the division by the channels' std, so that the division can be folded into its first layer.

    Takes x / 255 - mean, shape (B, C, H, W).
    """

    def __init__(self, model: nn.Module, std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.std: Tensor
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image / self.std)


def subject(job: Job, progress: Progress | None = None) -> Subject:
    """Load the model and its check inputs, and run it once. Raises ValueError with one line for anything unusable."""
    source = job.source
    loaded = load(
        source.variant,
        checkpoint=source.checkpoint,
        checkpoint_key=source.checkpoint_key,
        pretrained=True if source.pretrained == "any" else source.pretrained or False,
        progress=progress,
        num_classes=source.num_classes,
        in_chans=source.in_chans,
        image_size=source.image_size,
        model_args=source.model_args,
        seed=source.seed,
    )
    preprocessing = loaded.preprocessing
    assert preprocessing is not None
    image_input = _image_input(job, preprocessing)
    normalised, told = _check_inputs(job, preprocessing)
    feed = _as_pictures(normalised, image_input) if image_input else normalised
    batch = 1 if job.request.batch else job.batch_size
    answer = answers(loaded.module, _normalised(feed, image_input, torch.float32), batch)
    choosing = bool(getattr(loaded.module, "choices", False))
    names = _choosing_names(job, len(answer)) if choosing else _output_names(job, len(answer))
    return Subject(
        loaded=loaded,
        preprocessing=preprocessing,
        image_input=image_input,
        inputs=told,
        feed={job.input_name: feed},
        reference=dict(zip(names, answer, strict=True)),
        batch=batch,
        choices=names[1:] if choosing else (),
    )


def fed(subject: Subject, feed: Values, told: str) -> Subject:
    """The same model on other inputs: `feed` by the model's names, as `Subject.feed` has them; `told` says whence."""
    (values,) = feed.values()
    answer = answers(subject.loaded.module, _normalised(values, subject.image_input, torch.float32), subject.batch)
    return replace(subject, inputs=told, feed=feed, reference=dict(zip(subject.output_names, answer, strict=True)))


def truth(subject: Subject) -> Values:
    """The model's answer in float64 throughout: the one that the others are measured against."""
    (feed,) = subject.feed.values()
    pictures = _normalised(feed, subject.image_input, torch.float64)
    found = one_by_one(partial(wide_answers, subject.loaded.module), pictures, subject.batch)
    return dict(zip(subject.output_names, found, strict=True))


def network_input(subject: Subject) -> Tensor:
    """What the captured program takes for the subject's feed: the normalised input, or with pictures x / 255 - mean."""
    (feed,) = subject.feed.values()
    if subject.image_input is None:
        return torch.from_numpy(feed)
    centred = replace(subject.image_input, std=(1.0,) * len(subject.image_input.std))
    return _normalised(feed, centred, torch.float32)


def model_input(subject: Subject) -> Tensor:
    """What the model itself takes for the subject's feed: float32 (N, C, H, W), normalised."""
    (feed,) = subject.feed.values()
    return _normalised(feed, subject.image_input, torch.float32)


def captured_form(subject: Subject) -> nn.Module:
    """The module to capture: the model itself, or the model behind its std where a picture goes in."""
    if subject.image_input is None:
        return subject.loaded.module
    return BehindStd(subject.loaded.module, subject.image_input.std).eval()


def answers(module: nn.Module, batch: Tensor, size: int = 1) -> list[NDArray]:
    """All tensors that the module returns, joined along the first axis."""
    return one_by_one(lambda pictures: tree_leaves(module(pictures)), batch, size)


def one_by_one(run: Callable[[Tensor], Sequence[Tensor]], batch: Tensor, size: int = 1) -> list[NDArray]:
    """All that `run` returns for a batch, given `size` samples at a time, as the file takes them.

    The last group is filled up with its last sample, whose answers are cut off.
    """
    rows = []
    with torch.no_grad():
        for start in range(0, len(batch), size):
            chosen = torch.arange(start, start + size).clamp(max=len(batch) - 1)
            rows.append([value.numpy() for value in run(batch[chosen])])
    return [np.concatenate(column)[: len(batch)] for column in zip(*rows, strict=True)]


def _image_input(job: Job, preprocessing: Preprocessing) -> ImageInput | None:
    if job.image_input is None:
        return None
    if job.source.in_chans != 3:
        raise ValueError(f"--image-input needs a model of 3 channels, got --in-chans {job.source.in_chans}")
    return ImageInput(preprocessing.mean, preprocessing.std, preprocessing.colour, job.image_input)


def _check_inputs(job: Job, preprocessing: Preprocessing) -> tuple[NDArray, str]:
    """Normalised float32 pictures (N, C, H, W), and a line that says where they come from."""
    checks, channels = job.checks, job.source.in_chans
    if checks.images is not None:
        found, names = load_folder(checks.images, preprocessing, limit=checks.samples)
        return found.numpy(), f"{len(names)} pictures of {checks.images.name}"
    raw = pictures(checks.samples, *preprocessing.sides, seed=checks.seed, channels=channels)
    mean, std = (_per_channel(values, channels) for values in (preprocessing.mean, preprocessing.std))
    told = f"{checks.samples} synthetic pictures with natural statistics, seed {checks.seed}"
    return ((raw - mean) / std).astype(np.float32), told


def _per_channel(values: tuple[float, ...], channels: int) -> NDArray:
    """Three channels have their own value; any other number shares the average."""
    chosen = values if len(values) == channels else (sum(values) / len(values),) * channels
    return np.array(chosen).reshape(1, -1, 1, 1)


def _as_pictures(normalised: NDArray, image_input: ImageInput) -> NDArray:
    """uint8 pictures (N, H, W, 3), the normalisation undone."""
    mean, std = (_per_channel(values, 3) for values in (image_input.mean, image_input.std))
    pixels = np.clip(np.rint((normalised * std + mean) * 255), 0, 255).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def _normalised(feed: NDArray, image_input: ImageInput | None, dtype: torch.dtype) -> Tensor:
    """What the model itself takes for a feed: (N, C, H, W)."""
    if image_input is None:
        return torch.from_numpy(feed).to(dtype)
    mean, std = (_per_channel(values, 3) for values in (image_input.mean, image_input.std))
    return torch.from_numpy((feed.transpose(0, 3, 1, 2) / 255.0 - mean) / std).to(dtype)


def _choosing_names(job: Job, count: int) -> tuple[str, ...]:
    return (job.output_name or "logits", *(f"choices_{number}" for number in range(1, count)))


def _output_names(job: Job, count: int) -> tuple[str, ...]:
    if count == 1:
        return (job.output_name or "logits",)
    stem = job.output_name or "stage"
    return tuple(f"{stem}{number}" for number in range(1, count + 1))
