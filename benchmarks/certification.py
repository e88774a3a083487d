"""Our certificates side by side with their peers: same models, samples, thread.

Writes ``results/certification.json`` after every row, so that a later failure loses
nothing, and ``results/certification.md``. A share counts all samples of its line, those
that the model gets wrong included. Seconds are the process's own.

    python -m benchmarks.certification [--only LINE ...] [--methods METHOD ...]
        [--peers PEER ...] [--peer-path FOLDER] [--seconds S] [--json FILE]
        [--attacks FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.certification_lines import (
    INSTANCES,
    JOINTS,
    LINES,
    MNIST,
    RATIOS,
    SOURCE,
    JointLine,
    Line,
    RatioLine,
)
from benchmarks.certification_measures import (
    DATA,
    SETTLED,
    Bench,
    Row,
    attacked_share,
    certified_share,
    distances,
    instances,
    joint,
    loaded,
    peer_share,
    peer_task,
    ratio,
    settled_instance,
    settled_share,
)
from benchmarks.certification_page import page
from benchmarks.certification_peers import PACKAGES, PEERS
from benchmarks.machine import machine
from robustcert.certify.registry import CERTIFIERS, ORACLES
from robustcert.errors import RobustCertError

RESULTS = Path(__file__).resolve().parent / "results" / "certification.json"
ATTACKS = RESULTS.with_name("attacks.json")
REFERENCE = "AutoAttack"
ATTACK, DISTANCE = "attack", "distance"
ALL = 10_000
"""Test images; an instance names one of them."""

OWN = tuple(name for name in CERTIFIERS if name not in ORACLES)
SINGLE_LIMIT = 60.0
"""Seconds for a verification instance that the field left open."""


@dataclass(frozen=True, slots=True)
class Log:
    """The results so far, on disk after every row."""

    path: Path
    document: Row

    @classmethod
    def opened(cls, path: Path) -> Log:
        """What ``path`` holds, or nothing yet."""
        known = json.loads(path.read_text()) if path.is_file() else {}
        kinds = {"lines": {}, "radii": {}, "instances": {}, "joint": {}}
        return cls(path, {"source": SOURCE, **kinds, **known})

    def part(self, kind: str, name: str, head: Row) -> Row:
        """A line's rows; those of a line that was stated otherwise are dropped."""
        parts = self.document[kind]
        head = json.loads(json.dumps(head))
        if parts.get(name, {}).get("head") != head:
            parts[name] = {"head": head, "rows": {}, "peers": {}}
        return parts[name]

    def note(self, part: Row, group: str, name: str, row: Row) -> None:
        """Keep and show a row."""
        part[group][name] = row
        self.save()
        shown = {key: value for key, value in row.items() if not _is_long(value)}
        print(json.dumps({"row": name, **shown}), flush=True)

    def save(self) -> None:
        """Write both files; a crash in between leaves the old ones."""
        self.document["machine"] = machine(("robustcert", "torch", *_installed()))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(self.document, indent=1) + "\n")
        draft.replace(self.path)
        self.path.with_suffix(".md").write_text(page(self.document))


def measure_line(log: Log, line: Line, asked: argparse.Namespace) -> None:
    """Every method and peer at one radius."""
    head = asdict(line) | {"norm": line.norm.word, "seconds": asked.seconds}
    part = log.part("lines", line.name, head)
    bench = loaded(line.model, line.samples, line.count, asked.seconds)
    for name in line.methods or (*OWN, ATTACK, SETTLED):
        if name in asked.methods:
            row = attempted(lambda name=name: _share(bench, line, name))
            log.note(part, "rows", name, row)
    peers = [name for name in asked.peers if name in (line.methods or PEERS)]
    for name, row in _peers(bench, line, peers):
        log.note(part, "peers", name, row)


def measure_ratio(log: Log, line: RatioLine, asked: argparse.Namespace) -> None:
    """Both radii; the attack's side is measured once."""
    head = asdict(line) | {"norm": line.norm.word}
    part = log.part("radii", line.name, head)
    # Not all of the first images are classified correctly.
    bench = loaded(line.model, line.samples, 2 * line.count, asked.seconds)
    if DISTANCE not in part["rows"]:
        log.note(part, "rows", DISTANCE, distances(bench, line))
    reached = part["rows"][DISTANCE]
    for name in (*OWN, SETTLED):
        if name in asked.methods:
            row = attempted(lambda name=name: ratio(bench, line, name, reached))
            log.note(part, "rows", name, row)


def measure_instances(log: Log, asked: argparse.Namespace) -> None:
    """The verification instances, one at a time."""
    part = log.part("instances", INSTANCES, {"seconds": asked.seconds})
    benches: dict[str, Bench] = {}
    for instance in instances():
        known, model = instance["robust"], instance["model"]
        limit = SINGLE_LIMIT if known is None else asked.seconds
        if model not in benches:
            benches[model] = loaded(model, MNIST, ALL, limit)
        bench = Bench(benches[model].subject, limit)
        name = f"{model}-{instance['epsilon']}-{instance['mnist_test_index']}"
        log.note(part, "rows", name, settled_instance(bench, instance))


def measure_joint(log: Log, line: JointLine, asked: argparse.Namespace) -> None:
    """Both sides together, against the original AutoAttack's cost."""
    head = asdict(line) | {"norm": line.norm.word}
    part = log.part("joint", line.name, head)
    bench = loaded(line.model, line.samples, line.count, asked.seconds)
    reference = _reference(asked.attacks, line)
    for name in OWN:
        if name in asked.methods:
            row = attempted(lambda name=name: joint(bench, line, name, reference))
            log.note(part, "rows", name, row)


def attempted(measure: Callable[[], Row]) -> Row:
    """A row, or why the library refuses the line."""
    try:
        return measure()
    except RobustCertError as error:
        return {"refused": str(error)}


def _share(bench: Bench, line: Line, name: str) -> Row:
    if name == ATTACK:
        return attacked_share(bench, line)
    if name == SETTLED:
        return settled_share(bench, line)
    return certified_share(bench, line, name)


def _peers(bench: Bench, line: Line, asked: Iterable[str]) -> Iterator[tuple[str, Row]]:
    task = peer_task(bench, line)
    for name in asked:
        reason = PEERS[name].refusal(task)
        if reason:
            yield name, {"refused": reason}
            continue
        try:
            yield name, peer_share(bench, line, name)
        except Exception as error:  # a guest may raise anything
            yield name, {"failed": f"{type(error).__name__}: {error}"}


def _reference(path: Path, line: JointLine) -> Row | None:
    """The original AutoAttack's row on the same samples, of another run."""
    cells = json.loads(path.read_text())["cells"] if path.is_file() else {}
    cell = cells.get(line.attacks_cell, {})
    if (cell.get("epsilon"), cell.get("count")) != (line.epsilon, line.count):
        return None
    row = cell["peers"].get(REFERENCE, {})
    return row if "cpu_seconds" in row else None


def _installed() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            version(package)
        except PackageNotFoundError:
            continue
        found.append(package)
    return found


def _is_long(value: object) -> bool:
    return isinstance(value, list) and len(value) > 5


def _measures(
    log: Log, asked: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], None]]]:
    for line in LINES:
        yield line.name, lambda line=line: measure_line(log, line, asked)
    for line in RATIOS:
        yield line.name, lambda line=line: measure_ratio(log, line, asked)
    yield INSTANCES, lambda: measure_instances(log, asked)
    for line in JOINTS:
        yield line.name, lambda line=line: measure_joint(log, line, asked)


def main() -> None:
    """Measure every line asked for."""
    asked = _arguments()
    if not DATA.is_dir():
        sys.exit("the folder of trained models (../shared/data) is absent")
    if asked.peer_path:
        sys.path.insert(0, str(asked.peer_path))
    torch.set_num_threads(asked.threads)
    log = Log.opened(asked.json)
    for name, measure in _measures(log, asked):
        if name in asked.only:
            print(name, flush=True)
            measure()
    if log.path.is_file():
        print(page(log.document))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    lines = [line.name for line in (*LINES, *RATIOS, *JOINTS)] + [INSTANCES]
    rows, peers = [*OWN, ATTACK, SETTLED], [*PEERS]
    parser.add_argument("--only", nargs="*", default=lines, choices=lines)
    parser.add_argument("--methods", nargs="*", default=rows, choices=rows)
    parser.add_argument("--peers", nargs="*", default=peers, choices=peers)
    parser.add_argument("--peer-path", type=Path, help="where peers are installed")
    parser.add_argument("--attacks", type=Path, default=ATTACKS)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="a sample, for dear certifiers"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
