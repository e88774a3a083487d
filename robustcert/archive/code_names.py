"""Dotted names in saved code, and what each may refer to."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from robustcert.archive import operators, wording
from robustcert.errors import ArchiveError

# The loader's own names: none may stand alone, be assigned or be passed around.
RESERVED: Final = frozenset(("torch", "ops", "CONSTANTS", "__torch__"))
CONSTANT = re.compile(r"c\d{1,9}")
PREFIX = "code/"


def defined(member: str, tree: ast.Module) -> Iterator[str]:
    """Qualified names of the classes and functions that a code member defines."""
    module = member.removeprefix(PREFIX).removesuffix(".py").replace("/", ".")
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield f"{module}.{node.name}"


def dotted_names(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ...]]:
    """Every name and dotted name among the nodes, each at its full length.

    Args:
        nodes: of a whole tree, parents before their children.

    Yields:
        Its parts. An attribute of something that is no name, such as ``f(x).y``, is
        not a dotted name.
    """
    inner: set[int] = set()
    for node in nodes:
        if id(node) in inner or not isinstance(node, ast.Attribute | ast.Name):
            continue
        parts: list[str] = []
        below: ast.expr = node
        while isinstance(below, ast.Attribute):
            parts.append(below.attr)
            below = below.value
            inner.add(id(below))
        if isinstance(below, ast.Name):
            yield (below.id, *reversed(parts))
        else:
            inner.discard(id(below))


def refuse_foreign(name: tuple[str, ...], types: Collection[str]) -> None:
    """Refuse a dotted name that refers to anything not on the lists.

    Args:
        name: its parts.
        types: qualified names of the classes and functions that the archive defines.

    Raises:
        ArchiveError: naming it.
    """
    match name:
        case ("torch", operator) if operator in operators.TORCH:
            return
        case ("ops", space, operator) if (space, operator) in operators.OPS:
            return
        case ("CONSTANTS", constant) if CONSTANT.fullmatch(constant):
            return
        case ("__torch__", *_) if _is_defined(name, types):
            return
        case (root, *_) if root not in RESERVED:
            return
    raise refused_operator(name)


def refused_operator(name: tuple[str, ...]) -> ArchiveError:
    """The refusal of an operator that is not on the list."""
    shown = wording.quoted(".".join(name))
    return ArchiveError(
        f"The model's code uses {shown}, which is not on the list of operators that "
        "classifiers need.",
        remedy=wording.PLAIN_FORWARD,
    )


def _is_defined(name: tuple[str, ...], types: Collection[str]) -> bool:
    return any(".".join(name[:end]) in types for end in range(2, len(name) + 1))
