"""Our attack tiers side by side with their peers: same models, samples, seed, thread.

Writes ``results/attacks.json`` after every row, so that a later failure loses nothing,
and ``results/attacks.md``. Every candidate of everybody is judged in the same way: it
is projected onto ball and box, stored in the model's dtype, and classified alone.
Seconds are the process's own, on all its threads (one, unless told otherwise); wall
seconds stand beside them for a GPU. Queries are counted a row of a batch at a time, on
the model itself; those of our smooth twin count too.

    python -m benchmarks.attacks [--only CELL ...] [--tiers TIER ...] [--peers PEER ...]
        [--peer-path FOLDER] [--keep-peers] [--device cuda] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.attack_peers import PACKAGES, PEERS, Task, refusal
from benchmarks.machine import machine
from robustcert.attacks.counting import counted
from robustcert.attacks.verify import judged_margins, verify
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.run import attack
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples, load_samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.effort import Tier
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel, ThreatSweep

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).resolve().parent / "results" / "attacks.json"
SEED = 0
REFERENCE = "AutoAttack"
"""The peer that costs are shares of."""

MNIST, FASHION, CIFAR = "mnist_test", "fashion_mnist_test_2000", "cifar10_test_200"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """A model, its samples and one threat model in the unit box."""

    model: str
    samples: str
    norm: Norm
    epsilon: float
    count: int

    @property
    def name(self) -> str:
        """As ``--only`` takes it."""
        return f"{self.model}-{self.norm.word}"

    @property
    def threat(self) -> ThreatModel:
        """What the adversary may do."""
        return ThreatModel(self.norm, self.epsilon)


CELLS = (
    Cell("fashion_conv_kw", FASHION, Norm.LINF, 0.1, 500),
    Cell("fashion_conv_kw", FASHION, Norm.L2, 1.0, 300),
    Cell("mnist_conv_adv", MNIST, Norm.LINF, 0.1, 500),
    Cell("mnist_conv_kw", MNIST, Norm.LINF, 0.1, 500),
    Cell("mnist_mlp_6x100", MNIST, Norm.LINF, 0.03, 300),
    Cell("cifar_conv_adv", CIFAR, Norm.LINF, 2 / 255, 200),
    Cell("cifar_resnet2b", CIFAR, Norm.LINF, 2 / 255, 200),
)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A cell with its model and samples loaded."""

    cell: Cell
    model: LoadedModel
    samples: Samples

    @property
    def right(self) -> Tensor:
        """Positions that the model gets right, on its device."""
        inputs = self.samples.inputs.to(self.model.device)
        labels = self.samples.labels.to(self.model.device)
        gaps = [
            judged_margins(self.model, x, y)
            for x, y in zip(inputs.split(500), labels.split(500), strict=True)
        ]
        return (torch.cat(gaps) > 0.0).nonzero().flatten()


class Stopwatch:
    """CPU seconds of this process and wall seconds, since it was made."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._settle()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> Row:
        """Both, as a row has them."""
        self._settle()
        return {
            "cpu_seconds": time.process_time() - self._cpu,
            "wall_seconds": time.perf_counter() - self._wall,
        }

    def _settle(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def load(cell: Cell, device: str) -> Subject:
    """The cell's model on ``device`` and its first samples."""
    samples = load_samples(str(DATA / "samples" / f"{cell.samples}.npz"))
    samples = samples.first(cell.count)
    data = (DATA / "models" / f"{cell.model}.ts.pt").read_bytes()
    shape = tuple(samples.inputs.shape[1:])
    model = load_torchscript(data, input_shape=shape, device=device)
    return Subject(cell, model, samples)


def ours(subject: Subject, tier: Tier) -> Row:
    """One tier, as ``robustcert attack`` runs it."""
    cell = subject.cell
    plan = EvaluationPlan(ThreatSweep(cell.norm, (cell.epsilon,)), tier=tier, seed=SEED)
    watch = Stopwatch(subject.model.device)
    report = attack(subject.model, subject.samples, plan)
    times = watch.read()
    broken = [
        row.index
        for row in report.rows
        if row.right and row.adversarial_distance is not None
    ]
    runs = report.attacks
    return {
        **_yield(subject, broken),
        **times,
        "forwards": sum(run.forward_queries for run in runs),
        "gradients": sum(run.backward_queries for run in runs),
        "ladder": [[run.name, run.broken, round(run.seconds, 2)] for run in runs],
        "findings": sorted({finding.rule for finding in report.findings}),
    }


def theirs(subject: Subject, name: str) -> Row:
    """One peer, on the samples that the model gets right."""
    model, queries = counted(subject.model)
    right = subject.right
    inputs = subject.samples.inputs.to(model.device, model.dtype)[right]
    labels = subject.samples.labels.to(model.device)[right]
    task = Task(model, inputs, labels, subject.cell.threat, SEED)
    watch = Stopwatch(model.device)
    candidates = PEERS[name](task).detach()
    times = watch.read()
    counts = {"forwards": queries.forward, "gradients": queries.backward}
    judged = verify(subject.model, candidates, inputs, labels, task.threat)
    broken = right[judged.passed].tolist()
    return {**_yield(subject, broken), **times, **counts}


def _yield(subject: Subject, broken: list[int]) -> Row:
    attacked, count = len(subject.right), len(subject.samples)
    return {
        "clean": attacked / count,
        "robust": (attacked - len(broken)) / count,
        "attacked": attacked,
        "broken": broken,
    }


@dataclass(frozen=True, slots=True)
class Log:
    """The results so far, on disk after every row."""

    path: Path
    document: Row

    @classmethod
    def opened(cls, path: Path) -> Log:
        """What ``path`` holds, or nothing yet."""
        known = json.loads(path.read_text()) if path.is_file() else {}
        return cls(path, {"cells": {}, **known})

    def part(self, cell: Cell) -> Row:
        """The cell's rows; those of another threat or number of samples are dropped."""
        head = {"epsilon": cell.epsilon, "count": cell.count, "seed": SEED}
        cells = self.document["cells"]
        known = cells.get(cell.name, {})
        if {key: known.get(key) for key in head} != head:
            cells[cell.name] = {**head, "tiers": {}, "peers": {}}
        return cells[cell.name]

    def save(self) -> None:
        """Write both files; a crash in between leaves the old ones."""
        self.document["machine"] = machine(("robustcert", "torch", *_installed()))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(self.document, indent=1) + "\n")
        draft.replace(self.path)
        self.path.with_suffix(".md").write_text(page(self.document))


def _installed() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            version(package)
        except PackageNotFoundError:
            continue
        found.append(package)
    return found


def page(document: Row) -> str:
    """All cells in Markdown."""
    where = document["machine"]
    lines = [
        "# Attacks side by side",
        "",
        f"{where['threads']} thread(s), {where['processor']}, accelerator "
        f"{where['accelerator']}, torch {where['versions']['torch']}. Robust accuracy "
        "is an upper bound of the truth: lower is a stronger attack. Gradients and "
        "forwards are a sample that the model gets right. "
        f"Cost is CPU time over that of {REFERENCE} in the same cell.",
    ]
    for name, part in document["cells"].items():
        lines += ["", *_table(name, part)]
    return "\n".join(lines) + "\n"


def _table(name: str, part: Row) -> list[str]:
    tiers, peers = part["tiers"], part["peers"]
    heads = [f"alone against {tier}: theirs / ours" for tier in tiers]
    columns = [
        "attack", "robust accuracy", "CPU s", "wall s", "cost", "gradients", "forwards",
        *heads,
    ]  # fmt: skip
    reference = peers.get(REFERENCE, {}).get("cpu_seconds")
    lines = [
        f"## {name}, epsilon {part['epsilon']:.4g}, {part['count']} samples",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for tier, row in tiers.items():
        lines.append(_line(f"**{tier}**", row, reference, ["" for _ in tiers]))
    for peer, row in peers.items():
        if "robust" in row:
            cells = [_alone(row, mine) for mine in tiers.values()]
            lines.append(_line(peer, row, reference, cells))
    return lines


def _alone(theirs: Row, mine: Row) -> str:
    them, us = set(theirs["broken"]), set(mine["broken"])
    return f"{len(them - us)} / {len(us - them)}"


def _line(name: str, row: Row, reference: float | None, cells: list[str]) -> str:
    cost = "" if reference is None else f"{row['cpu_seconds'] / reference:.1%}"
    share = max(1, row["attacked"])
    words = [
        name,
        f"{row['robust']:.4f}",
        f"{row['cpu_seconds']:.2f}",
        f"{row['wall_seconds']:.2f}",
        cost,
        f"{row['gradients'] / share:.0f}",
        f"{row['forwards'] / share:.0f}",
        *cells,
    ]
    return f"| {' | '.join(words)} |"


def measure(log: Log, subject: Subject, asked: argparse.Namespace) -> None:
    """All that is asked for in one cell."""
    part = log.part(subject.cell)
    for tier in map(Tier, asked.tiers):
        _note(log, subject.cell, part["tiers"], tier.value, ours(subject, tier))
    for name in asked.peers:
        if asked.keep_peers and "robust" in part["peers"].get(name, {}):
            continue
        reason = refusal(name, subject.cell.norm)
        row = {"refused": reason} if reason else _attempt(subject, name)
        _note(log, subject.cell, part["peers"], name, row)


def _attempt(subject: Subject, name: str) -> Row:
    """A peer's row, or how it failed: a guest must not end a run of hours."""
    try:
        return theirs(subject, name)
    except Exception as error:  # a guest may raise anything
        return {"failed": f"{type(error).__name__}: {error}"}


def _note(log: Log, cell: Cell, rows: Row, name: str, row: Row) -> None:
    rows[name] = row
    log.save()
    shown = {key: value for key, value in row.items() if key != "broken"}
    print(json.dumps({"cell": cell.name, "row": name, **shown}), flush=True)


def main() -> None:
    """Measure every cell asked for."""
    asked = _arguments()
    if not DATA.is_dir():
        sys.exit("the folder of trained models (../shared/data) is absent")
    if asked.peer_path:
        sys.path.insert(0, str(asked.peer_path))
    torch.set_num_threads(asked.threads)
    log = Log.opened(asked.json)
    for cell in CELLS:
        if cell.name in asked.only:
            measure(log, load(cell, asked.device), asked)
    if log.path.is_file():
        print(page(log.document))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names, tiers = [cell.name for cell in CELLS], [tier.value for tier in Tier]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--tiers", nargs="*", default=tiers, choices=tiers)
    parser.add_argument("--peers", nargs="*", default=[*PEERS], choices=[*PEERS])
    parser.add_argument("--peer-path", type=Path, help="where peers are installed")
    parser.add_argument(
        "--keep-peers", action="store_true", help="measure no peer twice"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
