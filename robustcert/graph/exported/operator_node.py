"""A call of an exported program, as the rules of operators see a graph's node."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.models.exported_operators import BoundCall


@dataclass(frozen=True, slots=True, eq=False)
class OperatorNode:
    """What a rule may ask of a node: the operator's name and its schema."""

    call: BoundCall

    def kind(self) -> str:
        """The operator's qualified name, such as ``aten.linear.default``."""
        return self.call.node.target

    def schema(self) -> str:
        """The operator's schema in torch's notation."""
        return self.call.schema
