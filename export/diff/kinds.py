"""One word for what the two formats call differently. What is in neither table keeps its own name in small letters."""

from __future__ import annotations

ONNX = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "Gemm": "linear",
    "MatMul": "matmul",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "InstanceNormalization": "instance_norm",
    "GroupNormalization": "group_norm",
    "GlobalAveragePool": "reduce_mean",
    "AveragePool": "avg_pool",
    "MaxPool": "max_pool",
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceL2": "reduce_l2_norm",
    "Div": "real_div",
    "Max": "maximum",
    "Min": "minimum",
    "Reciprocal": "inverse",
    "LeakyRelu": "leaky_relu",
    "HardSigmoid": "sigmoid_hard",
    "Unsqueeze": "expand_dims",
    "Flatten": "reshape",
    "Slice": "slice_by_index",
    "Where": "select",
    "Resize": "resize",
    "Expand": "tile",
    "GatherElements": "gather_along_axis",
    "GatherND": "gather_nd",
    "ScatterND": "scatter_nd",
    "ArgMax": "reduce_argmax",
    "DepthToSpace": "depth_to_space",
    "Attention": "scaled_dot_product_attention",
}
MIL = {
    "resize_bilinear": "resize",
    "resize_nearest_neighbor": "resize",
    "upsample_bilinear": "resize",
    "upsample_nearest_neighbor": "resize",
    "slice_by_size": "slice_by_index",
}

WORK = ("conv", "conv_transpose", "linear", "matmul", "einsum", "scaled_dot_product_attention", "lstm", "gru", "rnn")
NORMS = ("batch_norm", "layer_norm", "instance_norm", "group_norm", "l2_norm", "rmsnormalization")
MOVES = ("transpose", "reshape", "concat", "split", "slice_by_index", "tile", "pad", "gather", "stack")
"""What moves numbers and computes none."""


def of_onnx(operator: str) -> str:
    return ONNX.get(operator, operator.lower())


def of_mil(operator: str) -> str:
    return MIL.get(operator, operator)
