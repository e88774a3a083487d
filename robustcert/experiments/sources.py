"""Where an experiment's examples come from: a folder, or what ships with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from robustcert.models.samples import Samples, load_samples
from robustcert.train.idx import idx_folder
from robustcert.train.interface import Batch

BUILT_IN = "fashion-mnist-500"
TRAINED = 400
"""Of the built-in samples; the others are tested on."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Labelled images.

    Attributes:
        name: for the record.
        training: what is split into parts.
        test: what accuracies are measured on.
        sha256: of both.
        notes: what a reader must know.
    """

    name: str
    training: Batch
    test: Batch
    sha256: str
    notes: tuple[str, ...] = ()

    def samples(self, count: int) -> Samples:
        """The first ``count`` test examples."""
        test = self.test.rows(slice(0, count))
        return Samples(test.inputs, test.targets, self.name, digest(test))


def folder_source(folder: Path) -> Source:
    """The four idx files of MNIST or Fashion-MNIST in a folder.

    Raises:
        SamplesError: one is missing or unusable.
    """
    found = idx_folder(folder)
    return Source(
        folder.resolve().name,
        found.training,
        found.test,
        digest(found.training, found.test),
    )


def built_in_source() -> Source:
    """500 images that ship with the package: enough to see the machinery run."""
    samples = load_samples(BUILT_IN)
    whole = Batch(samples.inputs.float(), samples.labels)
    return Source(
        BUILT_IN,
        whole.rows(slice(0, TRAINED)),
        whole.rows(slice(TRAINED, None)),
        samples.sha256,
        (
            f"No data folder was given: trained on {TRAINED} built-in images of "
            f"Fashion-MNIST and tested on {len(whole) - TRAINED}. This shows that the "
            "experiment runs; it reproduces nothing.",
        ),
    )


def digest(*batches: Batch) -> str:
    """SHA-256 of inputs and targets."""
    found = hashlib.sha256()
    for batch in batches:
        for tensor in (batch.inputs, batch.targets):
            found.update(tensor.contiguous().cpu().numpy().tobytes())
    return found.hexdigest()
