"""What every artifact says about itself: origin, licence, versions, input contract. Nothing with a date in it."""

from __future__ import annotations

from importlib.metadata import version

from torch import nn

from ..models.preprocessing import contract
from ..models.tokens.layer import Reduction
from .program import Prepared
from .subject import Subject


def metadata_of(subject: Subject, prepared: Prepared) -> dict[str, str]:
    """Key → text, for the metadata of a saved file. The measured parity belongs to the report, not here."""
    variant, weights = subject.loaded.variant, subject.loaded.weights
    described = f"{variant.name} ({variant.family}), {prepared.folded.after.parameters:,} parameters"
    told = {
        "description": described,
        "author": "exported by fuseport",
        "license": "Code: Apache-2.0. The weights keep the licence of their source.",
        "version": version("fuseport"),
        "fuseport.variant": variant.name,
        "fuseport.paper": variant.paper,
        "fuseport.weights": weights.describe(),
        "fuseport.weights_sha256": weights.sha256 or "",
        "fuseport.static_form": " ".join(static_form(subject.loaded.module)),
        "fuseport.preprocessing": _preprocessing(subject),
        "fuseport.torch": version("torch").partition("+")[0],
    }
    return {key: text for key, text in told.items() if text}


def input_contract(subject: Subject) -> dict[str, object]:
    """What a caller must do to a picture, and which of it the files do themselves, for the report."""
    inside = ["range", "mean", "std"] if subject.image_input is not None else []
    if subject.preprocessing is None:
        return {"inputs": [one.told(subject.batch) for one in subject.loaded.inputs], "inside_the_model": inside}
    return {**contract(subject.preprocessing), "inside_the_model": inside}


def static_form(module: nn.Module) -> tuple[str, ...]:
    """What the token reductions of a model say of their fixed-shape form; nothing for a model that keeps its tokens."""
    found = [part for part in module.modules() if isinstance(part, Reduction) and type(part) is not Reduction]
    return tuple(part.static_form() for part in found)


def _preprocessing(subject: Subject) -> str:
    """The contract with the caller, in a line; empty where only the model's author knows it."""
    how = subject.preprocessing
    if how is None:
        return ""
    height, width = how.sides
    to = f"to {how.resize}×{int(how.resize / height * width)}" if how.squash else f"the shorter side to {how.resize}"
    crop = f"resize {to} px ({how.interpolation}), crop the centre {height}×{width}"
    if subject.image_input is not None:
        return f"{crop}; {how.colour} picture of 0..255 (normalisation is inside the model)"
    return f"{crop}; {how.colour} scaled to 0..1, minus mean {list(how.mean)}, over std {list(how.std)}"
