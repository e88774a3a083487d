"""Finished shards on the disk: an evaluation that was ended goes on behind them.

A file is written beside its place and renamed, so it is whole or not there. It says
what it belongs to: model, samples, plan, and the program that made it. A file that
belongs to something else, cannot be read, or disagrees with what the model says about
its samples now, is ignored with a finding, and its shard is computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.provenance import versions
from robustcert.evaluation.request import plan_part
from robustcert.evaluation.shards import Shard, ShardResult
from robustcert.evaluation.subject import Subject
from robustcert.results.consistency import row_violations
from robustcert.results.report import CacheUse, Finding, Level

VERSION = 2
"""Of the files. Another version is ignored."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a stored shard belongs to.

    Attributes:
        work: which side of the evaluation: evaluate, attack or certify.
        plan: digest of everything that was asked for.
        model: hash of the model's bytes.
        samples: hash of the sample file's bytes.
        program: digest of the versions and of the device that computed it.
    """

    work: str
    plan: str
    model: str
    samples: str
    program: str


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A file's content."""

    version: int
    mark: Mark
    start: int
    stop: int
    result: ShardResult


_WIRE = TypeAdapter(StoredShard)


def mark_of(subject: Subject, plan: EvaluationPlan, work: str) -> Mark:
    """The mark of every shard of one evaluation."""
    model = subject.read.model
    place = {"device": str(model.device), "input": list(model.input_shape)}
    return Mark(
        work,
        _digest(plan_part(plan)),
        model.sha256,
        subject.samples.sha256,
        _digest({**versions(), **place}),
    )


@dataclass(slots=True)
class Checkpoints:
    """The finished shards of one evaluation in a folder.

    Attributes:
        folder: holds the files; ``None`` keeps nothing.
        mark: what they must belong to.
        faults: why files were ignored or not written.
        found: shards taken from files.
        missed: shards that had none.
    """

    folder: Path | None
    mark: Mark
    faults: list[str] = field(default_factory=list)
    found: int = 0
    missed: int = 0

    def find(self, shard: Shard, subject: Subject) -> ShardResult | None:
        """The stored result of ``shard``, ``None`` where no file holds it.

        Args:
            shard: whose result is wanted.
            subject: whose samples the result must agree with.
        """
        if self.folder is None:
            return None
        path = _path(self.folder, shard)
        try:
            stored = _WIRE.validate_json(path.read_bytes(), strict=True)
            fault = next(self._misfits(stored, shard, subject), None)
        except FileNotFoundError:
            self.missed += 1
            return None
        except (OSError, ValidationError) as error:
            stored, fault = None, f"cannot be read ({type(error).__name__})"
        if stored is None or fault is not None:
            self.missed += 1
            self.faults.append(f"{path.name} {fault}")
            return None
        self.found += 1
        return stored.result

    def keep(self, shard: Shard, result: ShardResult) -> None:
        """Store the result of ``shard``; where that fails, say so and go on."""
        if self.folder is None:
            return
        path = _path(self.folder, shard)
        stored = StoredShard(VERSION, self.mark, shard.start, shard.stop, result)
        text = json.dumps(_WIRE.dump_python(stored, mode="json"))
        try:
            _write(path, text.encode())
        except OSError as error:
            self.faults.append(f"{path.name} cannot be written ({error.strerror})")

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A note where a file was ignored or not written."""
        if not self.faults:
            return ()
        more = f", and {len(self.faults) - 1} more" if self.faults[1:] else ""
        note = Finding(
            "checkpoint-ignored",
            Level.NOTE,
            f"Kept parts of the evaluation were not used: {self.faults[0]}{more}.",
            "None is needed: the parts were computed anew. Give each evaluation a "
            "folder of its own.",
        )
        return (note,)

    @property
    def use(self) -> CacheUse:
        """How many shards came from files."""
        return CacheUse(self.found, self.missed)

    def _misfits(
        self, stored: StoredShard, shard: Shard, subject: Subject
    ) -> Iterator[str]:
        if stored.version != VERSION:
            yield f"has version {stored.version}, not {VERSION}"
        for part in ("work", "plan", "model", "samples", "program"):
            if getattr(stored.mark, part) != getattr(self.mark, part):
                yield f"belongs to another {part}"
        if (stored.start, stored.stop) != (shard.start, shard.stop):
            yield "holds other samples"
        yield from _contradictions(stored.result, shard, subject)


def _contradictions(
    result: ShardResult, shard: Shard, subject: Subject
) -> Iterator[str]:
    """Where a stored result disagrees with the model as it answers now."""
    classes = subject.read.model.classes
    if [row.index for row in result.rows] != list(range(shard.start, shard.stop)):
        yield "holds other samples"
        return
    for row in result.rows:
        now = (
            int(subject.samples.labels[row.index]),
            int(subject.predicted[row.index]),
            float(subject.margins[row.index]),
        )
        if (row.label, row.predicted, row.margin) != now:
            yield f"contradicts the model on sample {row.index}"
        yield from row_violations(row, classes)


def _path(folder: Path, shard: Shard) -> Path:
    return folder / f"shard-{shard.start}-{shard.stop}.json"


def _write(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there, whenever the process ends."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True)
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
