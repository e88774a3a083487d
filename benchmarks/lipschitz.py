"""Lipschitz bounds side by side with their peers, each net in one run, in L2.

Writes ``results/lipschitz.json`` and ``results/lipschitz.md``. Seconds of one run
compare only within a line; the ratios are what counts.

    python -m benchmarks.lipschitz [--only NET ...] [--weights FOLDER]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.lipschitz_nets import (
    CONV_NETS,
    DENSE_NETS,
    dense_graph,
    fashion,
    fashion_mlp,
    random_conv_net,
)
from benchmarks.lipschitz_peers import (
    Ascent,
    Measured,
    clip_pair_ascent,
    eclipse_nn_fast,
    eclipse_nn_full,
    exact_product,
    interior_point_lipsdp,
    lanczos_product,
    timed,
)
from benchmarks.machine import machine
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.interface import LiveBound, Problem
from robustcert.lipschitz.registry import (
    EFFORTS,
    LOWER_METHODS,
    UPPER_METHODS,
    UPPER_SEARCHES,
)
from robustcert.models.torchscript import load_torchscript
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).resolve().parent / "results"
STARTS = 200
ECLIPSE_SECONDS = 60.0
TRAINED = {
    "mnist_conv_kw": ("mnist_test", (1, 28, 28)),
    "fashion_conv_kw": ("fashion_mnist_test_2000", (1, 28, 28)),
    "mnist_conv_adv": ("mnist_test", (1, 28, 28)),
    "mnist_mlp_6x100": ("mnist_test", (1, 28, 28)),
    "mnist_mlp_lipsdp": ("mnist_test", (1, 28, 28)),
    "cifar_conv_adv": ("cifar10_test_200", (3, 32, 32)),
    "cifar_resnet2b": ("cifar10_test_200", (3, 32, 32)),
}
SMALL = ((12, 20, 16, 5), (10, 24, 24, 3), (16, 12, 12, 12, 4), (20, 40, 6))
REFINED = ("mnist_conv_kw", "fashion_conv_kw", "cifar_resnet2b")
"""Nets on which the dearer methods of ``max`` are measured too."""
REPEATS = 3
PACKAGES = ("robustcert", "torch", "numpy", "cvxpy", "clarabel", "eclipse-nn")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A net with inputs to start from, and what it is compared with."""

    name: str
    graph: LayerGraph
    inputs: Tensor
    dense: bool


def subjects(weights: Path) -> Iterator[tuple[str, Callable[[], Subject]]]:
    """Every net by name, made when it is asked for."""
    for net in DENSE_NETS:
        yield net.name, lambda net=net: _fashion_subject(net, weights)
    for net in CONV_NETS:
        yield net.name, lambda net=net: _random_subject(net)
    if DATA.is_dir():
        for name in TRAINED:
            yield name, lambda name=name: _trained_subject(name)


def _fashion_subject(net, weights: Path) -> Subject:
    images, _ = fashion("t10k")
    return Subject(net.name, fashion_mlp(net, weights), images[:STARTS], dense=True)


def _random_subject(net) -> Subject:
    graph = random_conv_net(net)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(64, *graph.input_shape, generator=generator)
    return Subject(net.name, graph, inputs, dense=False)


def _trained_subject(name: str) -> Subject:
    samples, shape = TRAINED[name]
    data = (DATA / "models" / f"{name}.ts.pt").read_bytes()
    graph = extract(load_torchscript(data, input_shape=shape))
    with np.load(DATA / "samples" / f"{samples}.npz") as file:
        inputs = torch.from_numpy(file["inputs"][:STARTS]).float() / 255.0
    return Subject(name, graph, inputs.reshape(-1, *shape), dense="mlp" in name)


def problem(subject: Subject) -> Problem:
    """A fresh problem: nothing is remembered from another method."""
    graph = subject.graph
    inputs = subject.inputs.to(torch.float32)
    return Problem(graph, lambda x: run(graph, x), inputs, UNIT_BOX, Norm.L2)


def uppers(subject: Subject) -> list[dict]:
    """The upper methods alone, and the way of the searches."""
    rows = []
    names = [name for name in EFFORTS[Effort.TIGHT] if name in UPPER_METHODS]
    asked_for = [(name, Effort.TIGHT) for name in names]
    if subject.name in REFINED:
        asked_for += [("liplt", Effort.MAX), ("lipsdp_neuron", Effort.MAX)]
    for name, effort in asked_for:
        trace: list[tuple[float, float, float | None]] = []
        asked, started = problem(subject), time.perf_counter()

        def heard(live: LiveBound, started=started, trace=trace) -> None:
            trace.append((time.perf_counter() - started, live.value, live.gap))

        try:
            if name in UPPER_SEARCHES:
                bound = UPPER_SEARCHES[name](asked, effort, heard)
            else:
                bound = UPPER_METHODS[name](asked, effort)
        except UnsupportedLayerError as refusal:
            rows.append({"method": name, "refused": refusal.reason})
            continue
        rows.append(
            {
                "method": name if effort is Effort.TIGHT else f"{name} (max)",
                "value": bound.value,
                "scope": bound.scope.value,
                "seconds": time.perf_counter() - started,
                "gap": bound.gap,
                "trace": trace,
            }
        )
    return rows


def lowers(subject: Subject, effort: Effort) -> list[dict]:
    """Every lower method of the effort alone."""
    rows = []
    for name in EFFORTS[effort]:
        if name not in LOWER_METHODS:
            continue
        asked, started = problem(subject), time.perf_counter()
        try:
            bound = LOWER_METHODS[name](asked, effort)
        except UnsupportedLayerError as refusal:
            rows.append({"method": name, "refused": refusal.reason})
            continue
        seconds = time.perf_counter() - started
        rows.append({"method": name, "value": bound.value, "seconds": seconds})
    return rows


def fast_seconds(subject: Subject) -> float:
    """All upper methods of the effort `fast` on one problem, as a user gets them."""

    def once() -> float:
        asked, started = problem(subject), time.perf_counter()
        for name in EFFORTS[Effort.FAST]:
            if name in UPPER_METHODS:
                try:
                    UPPER_METHODS[name](asked, Effort.FAST)
                except UnsupportedLayerError:
                    continue
        return time.perf_counter() - started

    return min(once() for _ in range(REPEATS))


def product(subject: Subject) -> dict:
    """One product of exact norms: by LAPACK for dense nets, by Lanczos for others.

    Lanczos's is exact but no bound; where it has no rule for a layer it is ours.
    """
    measure, by = exact_product, "LAPACK"
    if not subject.dense:
        measure, by = lanczos_product, "Lanczos, from below"
    try:
        measure(subject.graph)
    except UnsupportedLayerError:
        measure, by = _own_product, "spectral_product"
    runs = [measure(subject.graph) for _ in range(REPEATS)]
    seconds = min(run.seconds for run in runs)
    return {"value": runs[0].value, "seconds": seconds, "by": by}


def _own_product(graph: LayerGraph) -> Measured:
    inputs = torch.zeros(0, *graph.input_shape)
    subject = Subject("", graph, inputs, dense=False)
    product_of = UPPER_METHODS["spectral_product"]
    return timed(lambda: product_of(problem(subject), Effort.FAST).value)


def peers(subject: Subject) -> list[dict]:
    """What others give for the same net."""
    clip = clip_pair_ascent(subject.graph, subject.inputs.float(), Ascent())
    rows = [{"peer": "CLIP ascent", "value": clip.value, "seconds": clip.seconds}]
    if subject.dense:
        found = [eclipse_nn_fast(subject.graph) for _ in range(REPEATS)]
        best = min(found, key=lambda measured: measured.seconds)
        full = eclipse_nn_full(subject.graph, ECLIPSE_SECONDS)
        for name, one in (("eclipse-nn Fast", best), ("eclipse-nn full", full)):
            value = None if math.isnan(one.value) else one.value
            row = {"peer": name, "value": value, "seconds": one.seconds}
            rows.append({**row, "note": one.note})
    return rows


def measured(subject: Subject) -> dict:
    """One net's line."""
    reference = product(subject)
    found = {
        "net": subject.name,
        "product": reference,
        "uppers": uppers(subject),
        "lowers": lowers(subject, Effort.TIGHT),
        "peers": peers(subject),
        "fast_seconds": fast_seconds(subject),
    }
    everywhere = [
        row["value"] for row in found["uppers"] if row.get("scope") == "global"
    ]
    found["upper"] = min(everywhere)
    found["lower"] = max(row.get("value", 0.0) for row in found["lowers"])
    found["upper_over_lower"] = found["upper"] / found["lower"]
    found["upper_over_product"] = found["upper"] / reference["value"]
    found["fast_over_product_time"] = found["fast_seconds"] / reference["seconds"]
    return found


def small_nets() -> list[dict]:
    """LipSDP by an interior-point method and by ours: value and time in one run."""
    rows = []
    for seed, widths in enumerate(SMALL):
        graph = _random_chain(widths, seed)
        inputs = torch.zeros(0, widths[0])
        subject = Subject(str(widths), graph, inputs, dense=True)
        oracle = interior_point_lipsdp(graph)
        seconds, value = math.inf, math.inf
        for _ in range(REPEATS):
            asked, started = problem(subject), time.perf_counter()
            value = UPPER_METHODS["lipsdp"](asked, Effort.TIGHT).value
            seconds = min(seconds, time.perf_counter() - started)
        rows.append(
            {
                "widths": widths,
                "clarabel": oracle.value,
                "ours": value,
                "relative_difference": value / oracle.value - 1.0,
                "clarabel_seconds": oracle.seconds,
                "seconds": seconds,
                "times_faster": oracle.seconds / seconds,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _random_chain(widths: tuple[int, ...], seed: int) -> LayerGraph:
    generator = torch.Generator().manual_seed(seed)
    layers = [
        (torch.randn(out, fan_in, generator=generator) / fan_in**0.5, torch.zeros(out))
        for fan_in, out in itertools.pairwise(widths)
    ]
    return dense_graph(layers)


def seconds_to(row: dict, value: float) -> float | None:
    """When a search first heard a bound of at most ``value``."""
    return next((at for at, bound, _ in row["trace"] if bound <= value), None)


def table(rows: list[dict], small: list[dict]) -> str:
    """The figures in Markdown."""
    lines = [
        "# Lipschitz bounds in L2, each line measured in one run",
        "",
        "Bounds are proved in float64; seconds in brackets. The product is "
        "the exact one (LAPACK; Lanczos, which is no bound, for convolutions).",
        "",
        "| net | product (s) | upper bounds (s) | gap | lower bounds (s) | "
        "upper / lower | upper / product | `fast` / product time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gaps = [u["gap"] for u in row["uppers"] if u.get("gap") is not None]
        lines.append(
            f"| {row['net']} | {_cell(row['product'])} | {_cells(row['uppers'])} | "
            f"{min(gaps, default=math.nan):.1e} | {_cells(row['lowers'])} | "
            f"{row['upper_over_lower']:.4g} | {row['upper_over_product']:.3g} | "
            f"{row['fast_over_product_time']:.2f} |"
        )
    lines += ["", "| net | peers (s) |", "|---|---|"]
    lines += [f"| {row['net']} | {_cells(row['peers'], 'peer')} |" for row in rows]
    lines += [
        "",
        "| small net | Clarabel (s) | ours (s) | relative difference | times faster |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {'-'.join(map(str, row['widths']))} | {row['clarabel']:.7g} "
        f"({row['clarabel_seconds']:.2f}) | {row['ours']:.7g} ({row['seconds']:.3f}) | "
        f"{row['relative_difference']:.1e} | {row['times_faster']:.0f} |"
        for row in small
    ]
    return "\n".join(lines) + "\n"


def _cells(found: list[dict], key: str = "method") -> str:
    return "; ".join(f"{row[key]} {_cell(row)}" for row in found if "value" in row)


def _cell(row: dict) -> str:
    value = "none" if row["value"] is None else f"{row['value']:.5g}"
    return f"{value} ({row['seconds']:.2f})"


def main() -> None:
    """Measure every net, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--weights", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    rows: list[dict] = []
    for name, make in subjects(asked.weights):
        if asked.only is None or name in asked.only:
            rows.append(measured(make()))
            print(table(rows[-1:], []), flush=True)
            written(rows, [], complete=False)  # a later failure loses nothing
    if asked.only is None:
        written(rows, small_nets(), complete=True)


def written(rows: list[dict], small: list[dict], *, complete: bool) -> None:
    """Write both files; a part of the nets goes to files of its own."""
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine(PACKAGES), "rows": rows, "small": small}
    target = RESULTS / ("lipschitz" if complete else "lipschitz-part")
    target.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    target.with_suffix(".md").write_text(table(rows, small))


if __name__ == "__main__":
    main()
