"""Other people's Lipschitz bounds, run side by side with ours; one function a peer.

Each returns what the peer claims and the seconds it took. Not everything here is a
bound: each function says what its value is.
"""

from __future__ import annotations

import contextlib
import io
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import torch
from eclipse_nn import ECLipsE, ECLipsE_Fast
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply_linear, run
from robustcert.graph.fold import folded
from robustcert.graph.layers import (
    Conv,
    Elementwise,
    LayerGraph,
    Linear,
    Reshape,
)
from tests.differential.lipsdp_oracle import lipsdp
from tests.differential.slope_nets import read

LANCZOS_TOLERANCE = 1e-2  # of the residual; the norm is right to its square


@dataclass(frozen=True, slots=True)
class Measured:
    """A peer's value, NaN where it gave none; its seconds; what to know about it."""

    value: float
    seconds: float
    note: str = ""


def timed(peer: Callable[[], float]) -> Measured:
    """The peer's value with its wall-clock seconds."""
    started = time.perf_counter()
    value = float(peer())
    return Measured(value, time.perf_counter() - started)


def exact_product(graph: LayerGraph) -> Measured:
    """The product of a dense net's largest singular values, by LAPACK."""
    matrices = [weight.numpy() for weight in dense_weights(graph)]
    return timed(
        lambda: math.prod(
            np.linalg.svd(matrix, compute_uv=False)[0] for matrix in matrices
        )
    )


def lanczos_product(graph: LayerGraph) -> Measured:
    """The product of norms found by Lanczos, from below: NOT a bound."""
    chain = _chain(graph)
    layers = [
        (layer, chain.layers[layer.inputs[0]].shape)
        for layer in chain.layers
        if isinstance(layer, Conv | Linear)
    ]
    return timed(lambda: math.prod(_lanczos_norm(*layer) for layer in layers))


def _lanczos_norm(layer: Conv | Linear, shape: tuple[int, ...]) -> float:
    zero = torch.zeros(1, *shape, dtype=torch.float64)

    def forward(x: Tensor) -> Tensor:
        return apply_linear(layer, [x])

    origin, pull = torch.func.vjp(forward, zero)
    operator = LinearOperator(
        (layer.size, zero.numel()),
        matvec=lambda x: _flat(forward(torch.from_numpy(x).reshape(zero.shape))),
        rmatvec=lambda y: _flat(pull(torch.from_numpy(y).reshape(origin.shape))[0]),
        dtype=np.float64,
    )
    start = np.random.default_rng(0).standard_normal(min(operator.shape))
    found = svds(
        operator, 1, v0=start, tol=LANCZOS_TOLERANCE, return_singular_vectors=False
    )
    return float(found[0])


def _flat(values: Tensor) -> np.ndarray:
    return values.detach().flatten().numpy()


def eclipse_nn_fast(graph: LayerGraph) -> Measured:
    """ECLipsE-Fast by eclipse-nn: an upper bound up to rounding."""
    weights = dense_weights(graph)
    low, high = _slopes(graph)
    return timed(lambda: ECLipsE_Fast(weights, low, high))


def eclipse_nn_full(graph: LayerGraph, deadline: float) -> Measured:
    """ECLipsE by eclipse-nn, one SDP a layer, solved by SCS to 1e-6.

    In a process of its own, ended after ``deadline`` seconds. Where a layer's SDP fails
    the package gives its Fast value instead; so does this, and notes it.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    task = (sender, dense_weights(graph), *_slopes(graph), torch.get_num_threads())
    process = context.Process(target=_full, args=task)
    started = time.perf_counter()
    process.start()
    sender.close()
    try:
        if receiver.poll(deadline):
            return receiver.recv()
        return Measured(
            math.nan, time.perf_counter() - started, f"ended after {deadline:g} s"
        )
    except EOFError:
        return Measured(math.nan, time.perf_counter() - started, "it crashed")
    finally:
        process.kill()
        process.join()


def _full(
    sender: Connection,
    weights: list[Tensor],
    low: list[float],
    high: list[float],
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        value, failed = ECLipsE(weights, low, high)
        if failed:
            value = ECLipsE_Fast(weights, low, high)
    seconds = time.perf_counter() - started
    note = "an SDP failed: its Fast value" if failed else ""
    sender.send(Measured(float(value), seconds, note))


def interior_point_lipsdp(graph: LayerGraph) -> Measured:
    """LipSDP-Neuron by cvxpy and Clarabel; a minute for 100 units and inputs."""
    return timed(lambda: lipsdp(read(graph)).upper)


@dataclass(frozen=True, slots=True)
class Ascent:
    """How CLIP's pairs climb: their number, their steps, the noise between two ends.

    Rate and noise are those that served it best, of 4 x 4 tried on 784-256-256-10.
    """

    pairs: int = 16
    steps: int = 100
    rate: float = 0.5
    noise: float = 0.1
    seed: int = 0


def clip_pair_ascent(graph: LayerGraph, inputs: Tensor, ascent: Ascent) -> Measured:
    """The best quotient that CLIP's ascent saw: a lower bound up to rounding.

    Inputs and their noisy copies, both moved by ``rate * L * gradient of L``, L being
    the pair's quotient; ends may leave the box. In the dtype of ``inputs``.

    Reference:
        Bungert et al. CLIP: Cheap Lipschitz Training of Neural Networks. SSVM 2021,
        Algorithm 1.
    """
    model = graph.to(inputs.dtype)
    generator = torch.Generator().manual_seed(ascent.seed)
    chosen = torch.randperm(len(inputs), generator=generator)[: ascent.pairs]
    first = inputs[chosen]
    second = first + ascent.noise * torch.randn(
        first.shape, generator=generator, dtype=first.dtype
    )
    return timed(lambda: _climbed(model, first, second, ascent))


def _climbed(model: LayerGraph, first: Tensor, second: Tensor, ascent: Ascent) -> float:
    best = 0.0
    for _ in range(ascent.steps):
        ends = (first.detach().requires_grad_(), second.detach().requires_grad_())
        moved = (run(model, ends[0]) - run(model, ends[1])).norm(dim=1)
        quotients = moved / (ends[0] - ends[1]).flatten(1).norm(dim=1)
        best = max(best, float(quotients.detach().nan_to_num(0.0).max()))
        uphill = torch.autograd.grad(quotients.square().sum() / 2.0, ends)
        first, second = (
            (end + ascent.rate * step).detach()
            for end, step in zip(ends, uphill, strict=True)
        )
    return best


def dense_weights(graph: LayerGraph) -> list[Tensor]:
    """The float64 matrices of a chain of dense layers.

    Raises:
        UnsupportedLayerError: the net is something else.
    """
    layers = _chain(graph).layers[1:]
    for layer in layers:
        if not isinstance(layer, Linear | Elementwise | Reshape):
            raise UnsupportedLayerError(layer.name, "this peer reads dense layers only")
    return [layer.weight for layer in layers if isinstance(layer, Linear)]


def _chain(graph: LayerGraph) -> LayerGraph:
    """The folded net, each layer of which reads the one before."""
    chain = folded(graph)
    for position, layer in enumerate(chain.layers[1:]):
        if layer.inputs != (position,):
            raise UnsupportedLayerError(layer.name, "this peer reads chains only")
        if not isinstance(layer, Linear | Conv | Elementwise | Reshape):
            raise UnsupportedLayerError(layer.name, "this peer has no rule for it")
    return chain


def _slopes(graph: LayerGraph) -> tuple[list[float], list[float]]:
    """The ends of each activation layer's slopes."""
    ends = [
        layer.activation.slopes
        for layer in _chain(graph).layers
        if isinstance(layer, Elementwise)
    ]
    return [low for low, _ in ends], [high for _, high in ends]
