"""Non-maximum suppression (MIL: `tensor_operation`): of boxes that overlap, the one with the best score stays.

Boxes are (centre x, centre y, width, height). A sample's boxes are taken by falling best score; one is kept unless it
overlaps a kept one (of the same class, when `per_class_suppression`) by more than `iou_threshold`, up to `max_boxes`.
"""

from __future__ import annotations

from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Table


def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_boxes: int,
    per_class_suppression: bool = False,
) -> list[Tensor]:
    """Boxes (N, B, 4) and scores (N, B, K) → kept boxes (N, M, 4), their scores (N, M, K), indices (N, M), counts (N).

    Unused places hold zeros, and -1 in the indices.
    """
    samples = []
    for sample_boxes, sample_scores in zip(boxes, scores, strict=True):
        keep = kept(sample_boxes, sample_scores, iou_threshold, score_threshold, max_boxes, per_class_suppression)
        index, missing = torch.tensor(keep, dtype=torch.int64), max_boxes - len(keep)
        samples.append(
            (
                F.pad(sample_boxes[index], (0, 0, 0, missing)),
                F.pad(sample_scores[index], (0, 0, 0, missing)),
                F.pad(index, (0, missing), value=-1),
                torch.tensor(len(keep)),
            )
        )
    return [torch.stack(parts) for parts in zip(*samples, strict=True)]


def non_maximum_suppression_coordinates_first(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int, per_class_suppression: bool = False
) -> list[Tensor]:
    """From iOS17 on: boxes (N, 4, B) and scores (N, K, B), no score threshold, and no count among the results."""
    turned = boxes.transpose(1, 2), scores.transpose(1, 2)
    found = non_maximum_suppression(*turned, iou_threshold, -inf, max_boxes, per_class_suppression)
    return [found[0].transpose(1, 2), found[1].transpose(1, 2), found[2]]


def kept(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, max_boxes: int, per_class: bool
) -> list[int]:
    """Indices of the boxes (B, 4) that stay, by falling best score over the classes of `scores` (B, K)."""
    best, label = scores.max(-1)
    order = best.argsort(descending=True, stable=True)
    keep: list[int] = []
    for i in order[best[order] > score_threshold].tolist():
        if len(keep) == max_boxes:
            break
        rivals = [j for j in keep if label[j] == label[i]] if per_class else keep
        if not bool((iou(boxes[i], boxes[rivals]) > iou_threshold).any()):
            keep.append(i)
    return keep


def iou(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of `box` (4) with each of `others` (K, 4)."""
    low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
    lows, highs = others[:, :2] - others[:, 2:] / 2, others[:, :2] + others[:, 2:] / 2
    shared = (torch.minimum(high, highs) - torch.maximum(low, lows)).clamp(min=0).prod(-1)
    return shared / (box[2:].prod() + others[:, 2:].prod(-1) - shared)


COMPUTED: Table = {}
MOVED: Table = {
    "non_maximum_suppression": {5: non_maximum_suppression, 7: non_maximum_suppression_coordinates_first},
}
