"""A program written out: what each activation reads of the input and of the others.

With v all activations' outputs and x the input, the inputs of the activations are
``z = A x + W v``, W strictly lower, and the network's outputs ``D x + C v``. Nodes are
numbered: 0 is the input, i the outputs of stage i - 1. On a torus a node has one block
a frequency; the nodes up to the stage that leaves it form the *torus part*, those
behind it the *dense part*. Without a torus the torus part is the input alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.lipsdp.search.coupled import Couplings, Layout

Rows = dict[int, Tensor]
"""A frontier's ``(F, n, F_i / F * M_i)`` by node i: what it is made of."""


@dataclass(frozen=True, slots=True, eq=False)
class TorusPart:
    """The nodes on the torus, the input first.

    Attributes:
        layout: of these nodes, a group for each coarse frequency.
        couplings: ``W^H`` (and ``A^H``, from node 0) between them.
        reads: ``R^H`` ``(F_i, M_i, h)`` by node: what the dense part reads.
    """

    layout: Layout
    couplings: Couplings
    reads: Rows


@dataclass(frozen=True, slots=True, eq=False)
class DensePart:
    """The nodes behind the torus, and the outputs.

    Attributes:
        layout: of these nodes, one group.
        couplings: ``W^T`` between them; node 0 is the first dense one.
        outputs: ``C^T`` ``(n, k)`` on their n units.
        reading: the nodes that read the torus part directly, in order.
        outputs_read: whether the outputs do, too.
    """

    layout: Layout
    couplings: Couplings
    outputs: Tensor
    reading: tuple[int, ...]
    outputs_read: bool

    @property
    def units(self) -> int:
        """How many units n there are."""
        return len(self.outputs)

    @property
    def readers(self) -> Tensor:
        """``(h',)``, the units that read the torus part directly."""
        places = torch.arange(self.units, device=self.outputs.device)
        rows = [places[self.layout.rows(node)] for node in self.reading]
        return torch.cat([places[:0], *rows])


@dataclass(frozen=True, slots=True, eq=False)
class Unrolled:
    """Both parts of a program without an unfolding."""

    torus: TorusPart
    dense: DensePart


def unrolled(program: Program) -> Unrolled:
    """The program written out.

    Args:
        program: with at least one stage, none of which unfolds.
    """
    frontiers = _frontiers(program)
    border = _border(program)
    return Unrolled(
        _torus_part(program, frontiers, border), _dense_part(program, frontiers, border)
    )


def _border(program: Program) -> int:
    """The number of stages on the torus."""
    leaving = [i for i, s in enumerate(program.stages) if s.leaves_torus]
    return leaving[0] + 1 if leaving else 0


def _frontiers(program: Program) -> list[Rows]:
    """What each stage's activation reads, and last the outputs."""
    made: Rows = {0: program.start.transpose(1, 2).flatten(2)}
    frontiers: list[Rows] = []
    for number, stage in enumerate(program.stages):
        acted = {i: matrix[:, stage.acted] for i, matrix in made.items()}
        frontiers.append(_without_zeros(acted))
        made = _advanced(stage, made, number + 1)
    return [*frontiers, made]


def _advanced(stage: Stage, made: Rows, node: int) -> Rows:
    blocks, aliases = stage.spread.shape[:2]
    ahead: Rows = {}
    if stage.carry is not None:
        for source, matrix in made.items():
            dtype = torch.promote_types(matrix.dtype, stage.carry.dtype)
            parts = matrix.to(dtype).reshape(blocks, aliases, *matrix.shape[1:])
            carried = stage.carry.to(dtype) @ parts
            ahead[source] = carried.transpose(1, 2).flatten(2)
    ahead[node] = stage.spread.transpose(1, 2).flatten(2)
    return _without_zeros(ahead)


def _without_zeros(rows: Rows) -> Rows:
    return {i: matrix for i, matrix in rows.items() if bool((matrix != 0).any())}


def _upper(matrix: Tensor, width: int) -> Tensor:
    """``(F_i, M_i, n)``, the adjoint of ``(F, n, F_i / F * M_i)``."""
    adjoint = matrix.mH.resolve_conj()
    blocks = adjoint.shape[0] * adjoint.shape[1] // width if width else 0
    return adjoint.reshape(blocks, width, matrix.shape[1]).contiguous()


def _widths(program: Program) -> tuple[int, ...]:
    """Units in one block of each node."""
    return (program.start.shape[-1], *program.units)


def _torus_part(program: Program, frontiers: list[Rows], border: int) -> TorusPart:
    widths = _widths(program)
    groups = program.stages[border - 1].spread.shape[1] if border else 1
    maps = [program.start, *(stage.spread for stage in program.stages[:border])]
    counts = tuple(m.shape[0] * m.shape[1] // groups for m in maps)
    couplings = {
        (i, number + 1): _upper(matrix, widths[i])
        for number, rows in enumerate(frontiers[:border])
        for i, matrix in rows.items()
    }
    readers = [rows for rows in frontiers[border:] if _reads_torus(rows, border)]
    heights = [next(iter(rows.values())).shape[1] for rows in readers]
    reads: Rows = {}
    for i in sorted({i for rows in readers for i in rows if i <= border}):
        like = next(rows[i] for rows in readers if i in rows)
        parts = [
            rows[i] if i in rows else like.new_zeros(1, height, like.shape[2])
            for rows, height in zip(readers, heights, strict=True)
        ]
        reads[i] = _upper(torch.cat(parts, dim=1), widths[i])
    layout = Layout(groups, counts, widths[: border + 1])
    return TorusPart(layout, couplings, reads)


def _dense_part(program: Program, frontiers: list[Rows], border: int) -> DensePart:
    widths = _widths(program)[border + 1 :]
    count = program.stages[-1].spread.shape[2]
    layout = Layout(1, (1,) * len(widths), widths)
    couplings = {
        (i - border - 1, number): _upper(matrix, _widths(program)[i])
        for number, rows in enumerate(frontiers[border:-1])
        for i, matrix in rows.items()
        if i > border
    }
    outputs = program.start.new_zeros(layout.size, count).real
    for i, matrix in frontiers[-1].items():
        if i > border:
            outputs[layout.rows(i - border - 1)] = matrix[0].T
    reading = [
        node
        for node, rows in enumerate(frontiers[border:-1])
        if _reads_torus(rows, border)
    ]
    return DensePart(
        layout,
        couplings,
        outputs,
        tuple(reading),
        _reads_torus(frontiers[-1], border),
    )


def _reads_torus(rows: Rows, border: int) -> bool:
    return any(i <= border for i in rows)
