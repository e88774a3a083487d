"""What ``robustcert train`` does; loaded when it is called, since it needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from robustcert.cli.training_request import Material, TrainingRequest
from robustcert.errors import UsageError
from robustcert.evaluation.provenance import Clock, versions
from robustcert.results.progress import Listener
from robustcert.train.checkpoint import Checkpoint
from robustcert.train.data import (
    Shares,
    check_box,
    load_examples,
    load_training_data,
    output_count,
)
from robustcert.train.export import SavedModel, save_model
from robustcert.train.feed import Extra
from robustcert.train.interface import Epoch, Plan, TrainingData, drawn_from
from robustcert.train.loop import Trained, train
from robustcert.train.names import SUMMARIES
from robustcert.train.nets import FAMILIES, NETS, net_named
from robustcert.train.optimisers import OPTIMISERS, SCHEDULES
from robustcert.train.options import options_from_words, options_in_words
from robustcert.train.registry import TRAINERS, trainer_named
from robustcert.train.selection import SELECTIONS, selection_named

SCHEMA = "robustcert/training/v1"

_PARAMETERS = 3


def run(request: TrainingRequest, listener: Listener) -> dict[str, Any]:
    """Train a net, write its file if one is named, and say how it came about.

    Raises:
        RobustCertError: by the name that is unknown, the data, or the training.
    """
    clock, steps = Clock(), request.steps
    place = _device(request.device)
    row = trainer_named(request.trainer)
    options = options_from_words(row.options, request.options)
    chosen = request.selection or row.selection
    selection = selection_named(chosen)
    data, extra = _data(request.material, steps.seed), _extra(request.material)
    shape = tuple(data.training.inputs.shape[1:])
    generator = drawn_from(steps.seed, _PARAMETERS)
    net = net_named(request.net, shape, output_count(data), generator).to(place)
    plan = Plan(**asdict(steps))
    about = {
        "trainer": request.trainer,
        "options": str(options),
        "selection": chosen,
    }
    path, out = request.checkpoint, request.out
    trained = train(
        net,
        data,
        row.prepare(net, data, options, plan),
        plan,
        listener=listener,
        checkpoint=None if path is None else Checkpoint(path, about),
        selection=selection,
        extra=extra,
    )
    saved = None if out is None else save_model(trained.model, shape, out)
    return {
        "schema": SCHEMA,
        "trainer": request.trainer,
        "options": options_in_words(options),
        "net": request.net,
        "plan": asdict(plan),
        "selection": chosen,
        "data": _about_data(data, request.material),
        "model": _about_model(saved, trained.model),
        **_outcome(trained),
        "provenance": _provenance(clock, request),
    }


def rows() -> dict[str, Any]:
    """Everything that is known by name."""
    return {
        "trainers": {
            name: {
                "summary": SUMMARIES[name],
                "options": options_in_words(row.options()),
                "selection": row.selection,
            }
            for name, row in TRAINERS.items()
        },
        "nets": {
            **{name: net.summary for name, net in NETS.items()},
            **{f"{name}:WIDTH,...": each.summary for name, each in FAMILIES.items()},
        },
        "optimisers": [*OPTIMISERS],
        "schedules": [*SCHEDULES],
        "selections": [*SELECTIONS],
    }


def _data(material: Material, seed: int) -> TrainingData:
    shares = Shares(material.reserve, material.validation)
    return load_training_data(material.samples, seed, shares, material.box)


def _extra(material: Material) -> Extra | None:
    if material.extra is None:
        return None
    examples = load_examples(material.extra)
    check_box(examples, material.box)
    return Extra(examples, material.extra_share)


def _device(word: str) -> torch.device:
    try:
        return torch.empty(0, device=word).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"torch finds no device {word!r} here",
            remedy="Give cpu, or a device of this machine such as cuda:0.",
        ) from error


def _about_data(data: TrainingData, material: Material) -> dict[str, Any]:
    return {
        "name": data.name,
        "training": len(data.training),
        "reserve": len(data.reserve),
        "validation": len(data.validation),
        "box": [data.box.low, data.box.high],
        "extra": material.extra,
        "extra_share": 0.0 if material.extra is None else material.extra_share,
    }


def _about_model(saved: SavedModel | None, model: nn.Module) -> dict[str, Any]:
    return {
        "file": saved and saved.path.name,
        "format": saved and saved.format,
        "sha256": saved and saved.sha256,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _outcome(trained: Trained) -> dict[str, Any]:
    return {
        "best": trained.best,
        "epochs": [_line(epoch) for epoch in trained.epochs],
    }


def _line(epoch: Epoch) -> Mapping[str, Any]:
    """An epoch as JSON holds it, which knows no NaN."""
    return {
        name: None if math.isnan(value) else value
        for name, value in asdict(epoch).items()
    }


def _provenance(clock: Clock, request: TrainingRequest) -> dict[str, Any]:
    return {
        "versions": versions(),
        "seed": request.steps.seed,
        "device": request.device,
        "threads": torch.get_num_threads(),
        "started": clock.started.isoformat(timespec="seconds"),
        "seconds": clock.seconds,
    }
