"""The timm models that the measurements of folding share, with weights under which every branch counts."""

from __future__ import annotations

import copy

import timm
import torch
from fuseport.models.conditioned import fill_conditioned_
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

THIRTY = (
    *("shvit_s1", "shvit_s4", "swiftformer_xs", "swiftformer_l1", "repvit_m0_9", "mobileone_s0", "repvgg_a0"),
    *("efficientvit_m0", "levit_128s", "tiny_vit_5m_224", "fastvit_t8", "fastvit_sa12", "fastvit_mci0"),
    *("repghostnet_100", "nextvit_small", "efficientformer_l1", "efficientformerv2_s0", "mobilenetv3_small_100"),
    *("mobilenetv4_conv_small", "mobilevit_xs", "mobilevitv2_100", "efficientvit_b0", "ghostnet_100"),
    *("ghostnetv2_100", "starnet_s1", "fasternet_t0", "efficientnet_lite0", "resnet18", "edgenext_small"),
    "convnextv2_atto",
)
"""One architecture or two of each family that phones run."""


def conditioned(name: str) -> tuple[nn.Module, Tensor]:
    """The model in eval mode with conditioned weights, and a picture (1, C, H, W) of the size that it is made for."""
    module = timm.create_model(name, pretrained=False).eval()
    channels, height, width = module.pretrained_cfg["input_size"]  # pyright: ignore
    fill_conditioned_(module, picture=(channels, height, width))
    return module, torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def reparameterized(module: nn.Module) -> nn.Module:
    """What timm itself makes of a copy: each module's own `fuse` or `reparameterize`."""
    return reparameterize_model(copy.deepcopy(module)).eval()


def relative_error(truth: Tensor, given: Tensor) -> float:
    """Largest deviation over the root of the mean square of the truth."""
    return float((truth - given.double()).abs().max() / truth.square().mean().sqrt())
