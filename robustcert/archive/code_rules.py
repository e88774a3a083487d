"""What a model's saved code may say.

The parser's cost is bounded by :mod:`robustcert.archive.code_text`; the rules are an
allow-list of statements, of names (:mod:`robustcert.archive.code_names`) and of what
may be called.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from robustcert.archive import code_names, operators, wording
from robustcert.archive.code_tree import nodes
from robustcert.errors import ArchiveError

# What the compiler's printer emits. Not here: while, with, try, import, lambda, del,
# global, yield, await, comprehensions, formatted strings.
NODES: Final = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign,
    ast.AnnAssign, ast.AugAssign, ast.If, ast.For, ast.Return, ast.Pass, ast.Expr,
    ast.Break, ast.Continue, ast.Assert, ast.Call, ast.keyword, ast.Attribute, ast.Name,
    ast.Subscript, ast.Slice, ast.List, ast.Tuple, ast.Dict, ast.Constant, ast.UnaryOp,
    ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.operator,
    ast.unaryop, ast.cmpop, ast.boolop,
)  # fmt: skip

BASES: Final = frozenset(("Module", "NamedTuple", "Enum", "Interface"))
SPECIAL_METHODS: Final = frozenset(
    ("__init__", "__call__", "__len__", "__getitem__", "__contains__", "__new__")
)

STATEMENT_NAMES: Final = {
    "While": "a while loop", "With": "a with block", "Try": "a try block",
    "Lambda": "a lambda", "Import": "an import", "ImportFrom": "an import",
}  # fmt: skip


def parsed(name: str, text: str) -> ast.Module:
    """The syntax tree of a code member.

    Raises:
        ArchiveError: it does not parse.
    """
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ArchiveError(
            f"The code member {wording.quoted(name)} cannot be parsed.",
            remedy=wording.SAVE_AGAIN,
        ) from None


def refuse_unneeded(trees: Mapping[str, ast.Module]) -> frozenset[str]:
    """Refuse code that does what no classifier needs.

    Args:
        trees: the syntax tree of each code member, by the member's name.

    Returns:
        Qualified names of all classes and functions the code defines.

    Raises:
        ArchiveError: naming the statement, method or operator.
    """
    types = frozenset(
        name
        for member, tree in trees.items()
        for name in code_names.defined(member, tree)
    )
    flat = [nodes(tree) for tree in trees.values()]
    for tree in trees.values():
        _refuse_loose_statements(tree)
    for inside in flat:
        _refuse_statements(inside)
        for name in code_names.dotted_names(inside):
            code_names.refuse_foreign(name, types)
    functions = [f for inside in flat for f in inside if isinstance(f, ast.FunctionDef)]
    methods = frozenset(function.name for function in functions)
    for function in functions:
        _refuse_signature(function)
        _refuse_calls(nodes(function), methods)
    return types


def _refuse_loose_statements(tree: ast.Module) -> None:
    for statement in tree.body:
        if not isinstance(statement, ast.ClassDef | ast.FunctionDef):
            raise _refused("has statements outside functions and classes")


def _refuse_statements(inside: Sequence[ast.AST]) -> None:
    for node in inside:
        if not isinstance(node, NODES):
            kind = type(node).__name__
            raise _refused(f"contains {STATEMENT_NAMES.get(kind, kind.lower())}")
        if isinstance(node, ast.ClassDef):
            _refuse_class(node)


def _refuse_class(node: ast.ClassDef) -> None:
    plain = all(isinstance(b, ast.Name) and b.id in BASES for b in node.bases)
    if not plain or node.keywords or node.decorator_list:
        raise _refused(f"declares the class {wording.quoted(node.name)} unusually")
    allowed = (ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.Pass)
    for statement in node.body:
        is_method = isinstance(statement, ast.FunctionDef)
        inside = () if is_method else nodes(statement)
        if not isinstance(statement, allowed) or any(
            isinstance(inner, ast.Call) for inner in inside
        ):
            raise _refused(f"runs code in the class {wording.quoted(node.name)}")


def _refuse_signature(function: ast.FunctionDef) -> None:
    name = function.name
    if name in ("__setstate__", "__getstate__"):
        raise ArchiveError(
            f"The model defines {name}, which would run while the file is loaded.",
            remedy="Export a model of plain layers, not quantised or packed ones.",
        )
    is_dunder = name.startswith("__") and name.endswith("__")
    is_special = is_dunder and name not in SPECIAL_METHODS
    if is_special or name in operators.OUTSIDE_EFFECTS:
        raise _refused(f"defines a method named {wording.quoted(name)}")
    if function.decorator_list:
        raise _refused(f"decorates the function {wording.quoted(name)}")


def _refuse_calls(inside: Sequence[ast.AST], methods: Collection[str]) -> None:
    """Only listed operators, the model's own functions and its methods are called.

    Args:
        inside: the nodes of one function, itself first.
        methods: names of all functions the code defines.
    """
    aliases = _aliases(inside)
    for node in inside:
        if isinstance(node, ast.Call):
            _refuse_callee(node.func, aliases, methods)


def _refuse_callee(
    callee: ast.expr, aliases: Collection[str], methods: Collection[str]
) -> None:
    match callee:
        case ast.Name(id=name):
            if name not in aliases and name not in operators.BUILTINS:
                raise code_names.refused_operator((name,))
        case ast.Attribute(attr=name):
            is_method = name in methods or name == "__new__"
            if not is_method and _root(callee) not in code_names.RESERVED:
                raise code_names.refused_operator((name,))
        case _:
            raise _refused("calls the result of an expression")


def _aliases(inside: Sequence[ast.AST]) -> frozenset[str]:
    """Local names that stand for functions of the archive and for nothing else."""
    own: set[str] = set()
    others: set[str] = set()
    for node in inside[1:]:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                (own if _root(value) == "__torch__" else others).add(name)
            case ast.Assign(targets=targets):
                others.update(_stored(*targets))
            case ast.AnnAssign() | ast.AugAssign() | ast.For():
                others.update(_stored(node.target))
            case ast.arg(arg=name):
                others.add(name)
            case ast.FunctionDef():
                raise _refused("defines a function inside a function")
    reserved = (own | others) & code_names.RESERVED
    if reserved:
        raise _refused(f"assigns to {wording.quoted(min(reserved))}")
    return frozenset(own - others)


def _root(value: ast.expr) -> str:
    """The name at which a dotted expression starts, or nothing."""
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _stored(*targets: ast.expr) -> Iterator[str]:
    for target in targets:
        for node in nodes(target):
            if isinstance(node, ast.Name):
                yield node.id


def _refused(what: str) -> ArchiveError:
    return ArchiveError(
        f"The model's code {what}, which classifiers do not need.",
        remedy=wording.PLAIN_FORWARD,
    )
