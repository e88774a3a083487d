"""The nodes of a syntax tree as one flat tuple, walked without recursion."""

from __future__ import annotations

import ast


def nodes(root: ast.AST) -> tuple[ast.AST, ...]:
    """Every node under ``root``, itself first and parents before their children.

    ``ast.walk`` without the load and store marks, which are half of its output.
    """
    found = [root]
    for node in found:  # grows while it is read
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                found.extend(item for item in value if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                found.append(value)
    return tuple(found)
