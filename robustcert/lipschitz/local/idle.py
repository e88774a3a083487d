"""Activations without an open slope, taken out of a program."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program, Stage


def without_idle_stages(program: Program) -> Program:
    """The same dense program, up to rounding, without stages that act on no unit.

    What such a stage carries is composed with the maps in front of it. Multipliers of
    the other stages stay what they are. For searches: nothing is proved about it.
    """
    start, stages, exponents = program.start, list[Stage](), [program.exponents[0]]
    for stage, exponent in zip(program.stages, program.exponents[1:], strict=True):
        if len(stage.acted):
            stages.append(stage)
            exponents.append(exponent)
            continue
        width = stages[-1].spread.shape[2] if stages else start.shape[2]
        nothing = start.new_zeros(1, 1, stage.spread.shape[2], width)
        carry = nothing if stage.carry is None else stage.carry
        exponents[-1] = exponent
        if stages:
            stages[-1] = _followed(stages[-1], carry)
        else:
            start = carry @ start
    return replace(
        program, start=start, stages=tuple(stages), exponents=tuple(exponents)
    )


def _followed(stage: Stage, carry: Tensor) -> Stage:
    """The stage with its next frontier mapped on by ``carry``."""
    own = None if stage.carry is None else carry @ stage.carry
    return replace(stage, spread=carry @ stage.spread, carry=own)
