"""What each ATen operator means: TorchScript's rules, by operator and overload.

A program as ``torch.export.export`` returns it calls the same operators as TorchScript,
and ``run_decompositions`` writes them with those of the core set; the rules are the
same functions, so the graphs are the same.
"""

from __future__ import annotations

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.build import Symbol
from robustcert.graph.layers import Elementwise, Layer
from robustcert.graph.torchscript import affine_rules, pooling_rules, rules, shape_rules
from robustcert.graph.torchscript.call import EVAL_REMEDY, Call
from robustcert.graph.torchscript.values import Value, depends_on_input
from robustcert.graph.torchscript.walk import Rule

DECOMPOSED_REMEDY = (
    "Save the program that torch.export.export returns, before run_decompositions()."
)

_EVAL_MODE: tuple[Value, ...] = (False,)
_OVERLOADS: dict[str, str] = {
    "conv1d": "default padding",
    "conv2d": "default padding",
    "add": "Tensor Scalar",
    "sub": "Tensor Scalar",
    "rsub": "Tensor Scalar",
    "mul": "Tensor Scalar",
    "div": "Tensor Scalar Tensor_mode Scalar_mode",
    "clamp": "default Tensor",
    "clamp_min": "default Tensor",
    "clamp_max": "default Tensor",
    "softmax": "int",
    "log_softmax": "int",
    "mean": "default dim",
    "flatten": "using_ints",
    "squeeze": "default dim dims",
    "transpose": "int",
    "unflatten": "int",
    "slice": "Tensor",
    "select": "int",
    "split": "Tensor sizes",
    "unbind": "int",
    "index": "Tensor",
    "upsample_nearest1d": "default vec",
    "upsample_nearest2d": "default vec",
    "to": "dtype dtype_layout device other",
}
"""Overloads that have a rule, of operators with others than ``default``."""


def no_training_batch_norm(call: Call) -> list[Value]:
    """``(x, weight, bias, mean, variance, momentum, eps)``; only the first result."""
    weights, numbers = call.arguments[:5], call.arguments[5:7]
    result = affine_rules.batch_norm(call.given(*weights, *_EVAL_MODE, *numbers))
    return [result, None, None]


def training_batch_norm(call: Call) -> Symbol:
    """A batch norm that reads the batch's own mean."""
    call.refuse(
        "is a batch norm in train mode: a sample's output depends on its batch",
        remedy=EVAL_REMEDY,
    )


def max_pool_with_indices(call: Call) -> list[Value]:
    """``max_pool`` that also tells where each maximum was."""
    return [pooling_rules.max_pool(call), None]


def multiply(call: Call) -> Symbol:
    """``x * constant``, or ``x * sigmoid(x)``, which is SiLU written out."""
    first, second = call.arguments[:2]
    if not (depends_on_input([first]) and depends_on_input([second])):
        return affine_rules.mul(call)
    factors = call.symbol(0), call.symbol(1)
    for source, gate in (factors, factors[::-1]):
        if _is_sigmoid(call.builder.layers[gate.position], source.position):
            silu = Activation(ActivationKind.SILU)
            return call.add(Elementwise, source, activation=silu)
    return call.refuse(
        "multiplies two tensors that depend on the input", remedy=DECOMPOSED_REMEDY
    )


def _is_sigmoid(layer: Layer, source: int) -> bool:
    return (
        isinstance(layer, Elementwise)
        and layer.activation.kind is ActivationKind.SIGMOID
        and layer.inputs == (source,)
    )


RULES: dict[str, Rule] = {
    f"{name}.{overload}": rule
    for name, rule in rules.RULES.items()
    for overload in _OVERLOADS.get(name, "default").split()
} | {
    "mul.Tensor": multiply,
    "conv1d.padding": affine_rules.conv,
    "batch_norm.default": affine_rules.batch_norm,
    "_native_batch_norm_legit_no_training.default": no_training_batch_norm,
    "_native_batch_norm_legit.default": training_batch_norm,
    "_native_batch_norm_legit.no_stats": training_batch_norm,
    "native_batch_norm.default": training_batch_norm,
    "max_pool1d_with_indices.default": max_pool_with_indices,
    "max_pool2d_with_indices.default": max_pool_with_indices,
    "_adaptive_avg_pool2d.default": pooling_rules.adaptive_average_pool,
    "_softmax.default": rules.RULES["softmax"],
    "_log_softmax.default": rules.RULES["log_softmax"],
    "_unsafe_view.default": shape_rules.reshape_by("reshape"),
    "_to_copy.default": shape_rules.convert,
    "lift_fresh_copy.default": shape_rules.copy,
    "detach_.default": shape_rules.same,
}
"""Rules by ``operator.overload``; an in-place operator has that of its name without
the underscore. An operator in neither of these tables is refused by name."""

WRITTEN_OUT = frozenset({"exp", "expm1", "log1p", "where", "gt", "le", "minimum"})
"""Operators into which ``run_decompositions`` breaks up activations."""
