"""A torch.export program as data: operators by name, arguments, stored tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ROWS = "(rows)"
"""The name of the number of samples in a batch; no value of a graph is called so."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The value of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class TorchName:
    """``torch.NAME``: a dtype, a layout or a memory format of the scan's own tables."""

    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """The device on which the model runs, whatever the file says."""


Argument = (
    None
    | bool
    | int
    | float
    | str
    | Reference
    | TorchName
    | Place
    | tuple["Argument", ...]
)


@dataclass(frozen=True, slots=True)
class Node:
    """A call of ``namespace.operator.overload``.

    Attributes:
        namespace: ``aten``, or ``python`` for arithmetic on sizes.
        operator: its name, such as ``conv2d``.
        overload: its overload, such as ``default``; empty for ``python``.
        arguments: by the names in the operator's schema; the rest have defaults.
        outputs: names of the results.
        several: whether the operator returns a sequence, one item a name.
    """

    namespace: str
    operator: str
    overload: str
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]
    several: bool

    @property
    def target(self) -> str:
        """The operator's qualified name."""
        return ".".join(filter(None, (self.namespace, self.operator, self.overload)))

    @property
    def in_place(self) -> bool:
        """Whether it changes its first argument."""
        return self.operator.endswith("_") and not self.operator.startswith("__")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor whose bytes lie in the file; the scan has checked that it fits.

    Attributes:
        title: the user's name for it, such as ``0.weight``.
        trained: whether it is a parameter.
        start: offset of its storage in the file.
        size: bytes of its storage.
        dtype: ``torch.NAME`` of its elements.
        shape: its shape.
        strides: in elements.
        offset: of its first element in the storage, in elements.
    """

    title: str
    trained: bool
    start: int
    size: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Program:
    """A function of one tensor, as a list of operator calls.

    Every name is given once, and before it is read.

    Attributes:
        input: the name of the model's input.
        dtype: ``torch.NAME`` of its elements.
        sizes: its shape; ``None`` where it is dynamic. The first is the batch.
        tensors: stored tensors by name.
        nodes: in order of execution; a batch size that was fixed in a reshape reads
            :data:`ROWS`.
        output: the name of the model's output.
        depends: names of all values that depend on the input.
    """

    input: str
    dtype: str
    sizes: tuple[int | None, ...]
    tensors: Mapping[str, StoredTensor]
    nodes: tuple[Node, ...]
    output: str
    depends: frozenset[str]
