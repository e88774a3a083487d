"""A torch.export program that runs: the file's own operators, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustcert.archive.exported_program import (
    ROWS,
    Argument,
    Place,
    Program,
    Reference,
    StoredTensor,
)
from robustcert.models.exported_operators import BoundCall, Value, bound, resolved


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A call, ready to be made.

    Attributes:
        call: with all of its arguments.
        static: the positional arguments that are the same at each run.
        late: positions of the others.
        keywords: keyword-only arguments that are the same at each run.
        late_keywords: names of the others.
        spent: names of values that no later step reads.
    """

    call: BoundCall
    static: tuple[Value, ...]
    late: tuple[int, ...]
    keywords: Mapping[str, Value]
    late_keywords: tuple[str, ...]
    spent: tuple[str, ...]


class ExportedModule(nn.Module):
    """The program as a module, differentiable by its inputs.

    The module runs the operators that the file lists, whereas the graph of layers is
    read from them by rules: comparing both checks the rules.

    Args:
        program: what to run; its first dimension may have any size.
        data: the file's bytes.
    """

    def __init__(self, program: Program, data: bytes) -> None:
        super().__init__()
        self.program = program
        self.calls = tuple(bound(node) for node in program.nodes)
        self._places: dict[str, str] = {}
        storages: dict[int, Tensor] = {}
        for number, (name, entry) in enumerate(program.tensors.items()):
            tensor = _tensor(entry, data, storages)
            self._places[name] = f"tensor_{number}"
            if entry.trained and tensor.is_floating_point():
                parameter = nn.Parameter(tensor, requires_grad=False)
                self.register_parameter(f"tensor_{number}", parameter)
            else:
                self.register_buffer(f"tensor_{number}", tensor)
        self._copies_input = any(node.in_place for node in program.nodes)
        self._steps = self._planned()

    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors by their names in the program."""
        # faster than asking the module for one attribute after the other
        held: dict[str, Any] = {**self._parameters, **self._buffers}
        return {name: held[place] for name, place in self._places.items()}

    def forward(self, inputs: Tensor) -> Tensor:
        """What the program returns for ``inputs`` ``(N, ...)``."""
        device = inputs.device
        values: dict[str, Value] = self.tensors()
        values[self.program.input] = inputs.clone() if self._copies_input else inputs
        values[ROWS] = inputs.shape[0]
        for step in self._steps:
            arguments = list(step.static)
            for position in step.late:
                late = step.call.positional[position]
                arguments[position] = resolved(late, values, device)
            keywords = dict(step.keywords)
            for name in step.late_keywords:
                keywords[name] = resolved(step.call.keywords[name], values, device)
            result = step.call.function(*arguments, **keywords)
            values.update(named(step.call, result))
            for name in step.spent:
                del values[name]
        output: Tensor = values[self.program.output]
        return output

    def _planned(self) -> tuple[Step, ...]:
        """The calls, each with the values that may be dropped after it."""
        kept = {self.program.output, ROWS}
        steps: list[Step] = []
        for call in reversed(self.calls):
            read = _names((*call.positional, *call.keywords.values()))
            spent = (read | set(call.node.outputs)) - kept
            kept |= spent
            steps.append(_step(call, tuple(spent)))
        return tuple(reversed(steps))


def named(call: BoundCall, result: Value) -> dict[str, Value]:
    """The results of a call by their names."""
    outputs = call.node.outputs
    if call.node.several:
        return dict(zip(outputs, result, strict=True))
    return {outputs[0]: result} if outputs else {}


def _step(call: BoundCall, spent: tuple[str, ...]) -> Step:
    late = tuple(i for i, value in enumerate(call.positional) if _is_late(value))
    late_keywords = tuple(n for n, value in call.keywords.items() if _is_late(value))
    nowhere = torch.device("cpu")
    return Step(
        call=call,
        static=tuple(
            None if i in late else resolved(value, {}, nowhere)
            for i, value in enumerate(call.positional)
        ),
        late=late,
        keywords={
            name: resolved(value, {}, nowhere)
            for name, value in call.keywords.items()
            if name not in late_keywords
        },
        late_keywords=late_keywords,
        spent=spent,
    )


def _is_late(value: Argument) -> bool:
    """Whether an argument is known only when the model runs."""
    if isinstance(value, tuple):
        return any(_is_late(item) for item in value)
    return isinstance(value, Reference | Place)


def _names(values: tuple[Argument, ...]) -> set[str]:
    found: set[str] = set()
    for value in values:
        if isinstance(value, Reference):
            found.add(value.name)
        elif isinstance(value, tuple):
            found |= _names(value)
    return found


def _tensor(entry: StoredTensor, data: bytes, storages: dict[int, Tensor]) -> Tensor:
    """The tensor at its place in the file; those of one storage share memory."""
    if entry.start not in storages:
        content = bytearray(memoryview(data)[entry.start : entry.start + entry.size])
        storages[entry.start] = (
            torch.frombuffer(content, dtype=torch.uint8)
            if content
            else torch.empty(0, dtype=torch.uint8)
        )
    flat = storages[entry.start].view(getattr(torch, entry.dtype))
    return flat.as_strided(entry.shape, entry.strides, entry.offset)
