"""Read a torch.export program as layers."""

from __future__ import annotations

from robustcert.archive.exported_program import ROWS
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.batch_size import BatchSize
from robustcert.graph.build import EXAMPLE_BATCH, Final, GraphBuilder, Symbol
from robustcert.graph.exported.walk import Walk, widened
from robustcert.graph.layers import Shape
from robustcert.models.exported_module import ExportedModule
from robustcert.results.plain_text import plain_text

NAME_LENGTH = 80


def read_exported(
    module: ExportedModule, builder: GraphBuilder, shape: Shape
) -> Symbol | Final:
    """The model's output, with the layers it needs in ``builder``.

    Args:
        module: the program.
        builder: without layers yet.
        shape: of one input.

    Raises:
        UnsupportedLayerError: names the operator without a rule.
    """
    program = module.program
    walk = Walk(builder, {ROWS: BatchSize(EXAMPLE_BATCH)}, {})
    for name, tensor in module.tensors().items():
        walk.values[name] = widened(tensor)
        module_name = program.tensors[name].title.rpartition(".")[0]
        walk.owners[name] = plain_text(module_name, NAME_LENGTH)
    walk.values[program.input] = builder.start(shape)
    for call in module.calls:
        walk.step(call)
    output = walk.values[program.output]
    if not isinstance(output, Symbol | Final):
        raise UnsupportedLayerError("forward", "does not return one tensor")
    return output
