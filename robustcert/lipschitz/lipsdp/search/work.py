"""What a Newton step costs, known before anything is written out."""

from __future__ import annotations

from robustcert.lipschitz.lipsdp.program import Program

LARGEST = 5000
"""Rows of one matrix, up to which Newton's method is considered."""
_PASSES = 40.0  # over each matrix, in units of a multiplication and an addition


def newton_work(program: Program) -> float:
    """Multiplications with additions of one Newton step, about; infinity if too large.

    Args:
        program: with at least one stage.
    """
    maps = [program.start, *(stage.spread for stage in program.stages)]
    rows = [m.shape[0] * m.shape[1] * m.shape[3] for m in maps]
    leaving = [i for i, s in enumerate(program.stages) if s.leaves_torus]
    border = leaving[0] + 1 if leaving else 0
    groups = maps[border].shape[1] if border else 1
    outputs = program.stages[-1].spread.shape[2]
    inner = sum(rows[: border + 1]) / groups if border else 0.0
    outer = float(sum(rows[border + 1 :]))
    if max(inner, outer) > LARGEST:
        return float("inf")
    passes = _PASSES + 6.0 * outputs
    coupled = _couplings(program)
    torus = inner * (inner * passes + 6.0 * sum(coupled[:border]) / groups)
    dense = outer * (outer * passes + 6.0 * sum(coupled[border:]))
    units = sum(program.units)
    return 4.0 * groups * torus + dense + units**3 / 3.0


def _couplings(program: Program) -> list[float]:
    """Entries of the maps that end in each stage's activation."""
    found = []
    blocks, aliases, _, inputs = program.start.shape
    sources = [(blocks * aliases, inputs)]
    for stage in program.stages:
        count = len(stage.acted)
        found.append(float(sum(blocks * width for blocks, width in sources) * count))
        blocks, aliases = stage.spread.shape[:2]
        kept = sources if stage.carry is not None else []
        sources = [*kept, (blocks * aliases, count)]
    return found
