"""The line that made a node: the innermost one that is not PyTorch's, without the folders of this machine."""

from __future__ import annotations

import pytest
from fuseport.export.source_line import source_line
from torch.fx import Graph

TORCH = 'File "/home/u/env/lib/python3.11/site-packages/torch/nn/modules/conv.py", line 565, in forward\n    return 1'


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (f'File "/home/u/work/net.py", line 7, in forward\n    x\n{TORCH}', "work/net.py:7"),
        ('File "/e/lib/site-packages/timm/layers/mlp.py", line 44, in forward\n    x', "timm/layers/mlp.py:44"),
        ('File "/home/u/work/net.py", line 7, in forward\n    x\nFile "<eval_with_key>.5", line 9', "work/net.py:7"),
        (TORCH, ""),
        (None, ""),
    ],
)
def test_source_line(trace: str | None, line: str) -> None:
    node = Graph().placeholder("x")
    node.meta["stack_trace"] = trace
    assert source_line(node) == line
