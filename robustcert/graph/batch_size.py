"""Numbers that depend on how many samples a batch has, while a model is read.

A front door sees one batch size, that of the example. A number computed from it is a
function of which one value is known; a graph that used the value would be right for
that batch size alone, and so might the comparison with the model be. So such numbers
are followed, and may be used for one thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robustcert.errors import UnsupportedLayerError


class BatchSize(int):
    """A number that depends on the batch size.

    Only the first size of a reshape may be one: the other sizes being fixed, it can
    only be the batch size itself.
    """


def holds_batch_size(values: Iterable[object]) -> bool:
    """Whether a :class:`BatchSize` occurs in ``values`` or in a list among them."""
    return any(
        holds_batch_size(value)
        if isinstance(value, list | tuple)
        else isinstance(value, BatchSize)
        for value in values
    )


def followed(name: str, result: object, arguments: Sequence[object]) -> object:
    """The result of arithmetic, marked where an argument depends on the batch size.

    Raises:
        UnsupportedLayerError: the result is no whole number.
    """
    if isinstance(result, list) or not holds_batch_size(arguments):
        return result  # a list keeps its items, marked as they are
    if not isinstance(result, int):
        raise UnsupportedLayerError(name, "computes with the number of samples")
    return BatchSize(result)


def refuse_batch_size(
    name: str, arguments: Sequence[object], *, reshapes: bool
) -> None:
    """Refuse an operator that reads a number which depends on the batch size.

    Args:
        name: of the layer.
        arguments: of the operator.
        reshapes: whether the second argument is a list of sizes, whose first may
            depend on the batch size.

    Raises:
        UnsupportedLayerError: a number elsewhere does.
    """
    others = arguments
    if reshapes and isinstance(arguments[1], list):
        others = (arguments[0], *arguments[1][1:])
    if holds_batch_size(others):
        raise UnsupportedLayerError(
            name, "computes with the number of samples in the batch"
        )
