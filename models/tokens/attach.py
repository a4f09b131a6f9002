"""A token-reduction method on a plain ViT of timm, with its trained weights as they are.

Plain means what the methods need: a grid of patches, one class token in front, pre-norm layers with ordinary
multi-head attention, and a classifier that reads the class token. Layer scale, norms of queries and keys, and norms in
front of the layers are welcome; what breaks the mathematics is refused with its reason.
"""

from __future__ import annotations

from typing import Any

from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from . import create
from .layer import Reduction, ViTShape, run_layers, run_with_choices


class ReducedViT(nn.Module):
    """timm's ViT, its modules shared, its tokens reduced on the way, for evaluation; outputs as timm's, or choices too.

    The attention's dropout is not applied.
    """

    def __init__(self, vit: VisionTransformer, reduction: Reduction[Any], *, choices: bool = False) -> None:
        super().__init__()
        self.vit = vit
        self.reduction = reduction
        self.choices = choices
        self.train(vit.training)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        vit = self.vit
        tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
        layers = [TimmLayer(block) for block in vit.blocks if isinstance(block, Block)]
        if not self.choices:
            return vit.forward_head(vit.norm(run_layers(self.reduction, layers, tokens)))
        tokens, chosen = run_with_choices(self.reduction, layers, tokens)
        return (vit.forward_head(vit.norm(tokens)), *chosen.values())


class TimmLayer:
    """timm's block in the four pieces of `layer.Layer`."""

    def __init__(self, block: Block) -> None:
        assert isinstance(block.attn, Attention)
        self.block, self.attn = block, block.attn

    def norm(self, x: Tensor) -> Tensor:
        return self.block.norm1(x)

    def split(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, size, _ = y.shape
        packed = self.attn.qkv(y).reshape(n, size, 3, self.attn.num_heads, self.attn.head_dim)
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        return self.attn.q_norm(q), self.attn.k_norm(k), v

    def merge(self, heads: Tensor) -> Tensor:
        mixed = self.attn.norm(heads.transpose(1, 2).flatten(2))
        return self.block.drop_path1(self.block.ls1(self.attn.proj_drop(self.attn.proj(mixed))))

    def feed_forward(self, x: Tensor) -> Tensor:
        block = self.block
        return block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def attach(vit: nn.Module, method: str, *, choices: bool = False, **options: Any) -> ReducedViT:
    """`vit` with the method of that name and its options; `vit` itself stays as it is, and shares its weights.

    With `choices` the model also gives what each layer chose. Raises ValueError in one line for a model on which the
    method would not be what it is, or an option out of range.
    """
    if type(vit) is not VisionTransformer:
        raise ValueError(
            f"expected a VisionTransformer of timm, such as vit_base_patch16_224; got {type(vit).__name__}"
        )
    if problem := _unfit(vit):
        raise ValueError(f"token reduction does not fit this model: {problem}")
    rows, columns = vit.patch_embed.grid_size or (0, 0)
    attention = vit.get_submodule("blocks.0.attn")
    assert isinstance(attention, Attention)
    shape = ViTShape((rows, columns), vit.embed_dim, attention.num_heads, len(vit.blocks))
    return ReducedViT(vit, create(method, shape, **options), choices=choices)


def _unfit(vit: VisionTransformer) -> str:
    """Why no method can work on this model, "" if all can."""
    if vit.global_pool != "token" or vit.attn_pool is not None:
        return f"its classifier pools over tokens ({vit.global_pool}); expected one that reads the class token"
    if vit.num_prefix_tokens != 1 or not vit.has_class_token:
        return f"it has {vit.num_prefix_tokens} tokens in front of the patches; expected the class token alone"
    if vit.dynamic_img_size:
        return "its grid follows the picture (dynamic_img_size); build it with a fixed img_size"
    for number, block in enumerate(vit.blocks):
        if type(block) is not Block or type(block.attn) is not Attention:
            return (
                f"layer {number} is a {type(block).__name__} with {_attention(block)}; expected a plain pre-norm block"
            )
        if block.attn.gate is not None:
            return f"the attention of layer {number} is gated; expected plain attention"
    return ""


def _attention(block: nn.Module) -> str:
    return type(getattr(block, "attn", None)).__name__
