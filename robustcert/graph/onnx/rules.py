"""What each ONNX operator means: the table of all rules."""

from __future__ import annotations

from collections.abc import Callable

from robustcert.graph.activations import ActivationKind
from robustcert.graph.build import Symbol
from robustcert.graph.onnx import (
    activation_rules,
    affine_rules,
    gather_rules,
    pooling_rules,
    products,
    shape_rules,
    thresholds,
)
from robustcert.graph.onnx.call import Call
from robustcert.graph.onnx.values import Value
from robustcert.results.report import OutputKind

RULES: dict[str, Callable[[Call], Value | list[Symbol]]] = {
    "Gemm": affine_rules.gemm,
    "MatMul": affine_rules.matmul,
    "Conv": affine_rules.conv,
    "BatchNormalization": affine_rules.batch_norm,
    "Add": affine_rules.add,
    "Sub": affine_rules.sub,
    "Mul": affine_rules.mul,
    "Div": affine_rules.div,
    "Neg": affine_rules.neg,
    "Relu": activation_rules.plain(ActivationKind.RELU),
    "Sigmoid": activation_rules.plain(ActivationKind.SIGMOID),
    "Tanh": activation_rules.plain(ActivationKind.TANH),
    "HardSwish": activation_rules.plain(ActivationKind.HARDSWISH),
    "LeakyRelu": activation_rules.leaky_relu,
    "PRelu": activation_rules.prelu,
    "Elu": activation_rules.elu,
    "Selu": activation_rules.selu,
    "Celu": activation_rules.celu,
    "Softplus": activation_rules.softplus,
    "Greater": thresholds.greater,
    "Where": thresholds.where,
    "Swish": activation_rules.swish,
    "Gelu": activation_rules.gelu,
    "Erf": products.error_function,
    "HardSigmoid": activation_rules.hard_sigmoid,
    "Clip": activation_rules.clip,
    "Softmax": activation_rules.softmax(OutputKind.PROBABILITIES),
    "LogSoftmax": activation_rules.softmax(OutputKind.LOG_PROBABILITIES),
    "MaxPool": pooling_rules.max_pool,
    "AveragePool": pooling_rules.average_pool,
    "GlobalAveragePool": pooling_rules.global_average_pool,
    "GlobalMaxPool": pooling_rules.global_max_pool,
    "ReduceMean": pooling_rules.reduce_mean,
    "Flatten": shape_rules.flatten,
    "Reshape": shape_rules.reshape,
    "Transpose": shape_rules.transpose,
    "Squeeze": shape_rules.squeeze,
    "Unsqueeze": shape_rules.unsqueeze,
    "Concat": shape_rules.concat,
    "Slice": gather_rules.slices,
    "Gather": gather_rules.gather,
    "Split": gather_rules.split,
    "Expand": gather_rules.expand,
    "DepthToSpace": gather_rules.depth_to_space,
    "SpaceToDepth": gather_rules.space_to_depth,
    "Tile": gather_rules.tile,
    "Pad": gather_rules.pad,
    "Identity": shape_rules.same,
    "Dropout": shape_rules.dropout,
    "Cast": shape_rules.cast,
}
"""Operators that may run on values that depend on the input."""
