"""The static scan of a torch.export archive (.pt2), which is also its reader.

``torch.export.load`` is never called: it unpickles the sample inputs and may unpickle
weights and constants without restriction, and it evaluates the symbolic sizes with
sympy. The description is plain JSON and the weights are raw bytes, so both are read
here, without torch; pickles in the archive stay unopened.
"""

from __future__ import annotations

from collections.abc import Mapping

from robustcert.archive import (
    directory,
    exported_flow,
    exported_layout,
    exported_signature,
    layout,
    wording,
)
from robustcert.archive.exported_json import (
    Json,
    integer,
    items,
    malformed,
    mapping,
    parsed,
)
from robustcert.archive.exported_nodes import dtype_name, node
from robustcert.archive.exported_program import Node, Program, StoredTensor
from robustcert.archive.inflate import inflated
from robustcert.archive.limits import DEFAULT_LIMITS, MIB, ArchiveLimits
from robustcert.archive.report import ArchiveReport, Member
from robustcert.errors import ArchiveError

SCHEMA = 8
MOST_JSON = 8 * MIB
MOST_NODES = 20_000
_SMALL = 64

Members = Mapping[str, Member]


def inspect_exported(
    data: bytes, limits: ArchiveLimits = DEFAULT_LIMITS
) -> ArchiveReport:
    """Scan a torch.export archive without executing or unpickling anything.

    Raises:
        ArchiveError: the file is damaged, or does more than a classifier needs.
    """
    root, members = _members(data, limits)
    program = _program(data, members)
    return ArchiveReport(
        format="torch.export",
        root=root,
        members=tuple(members.values()),
        size=len(data),
        code_size=members[exported_layout.PROGRAM].size,
        version=SCHEMA,
        classes=0,
        tensors=len(program.tensors),
    )


def read_program(data: bytes, limits: ArchiveLimits = DEFAULT_LIMITS) -> Program:
    """The program in a torch.export archive.

    Raises:
        ArchiveError: as :func:`inspect_exported`.
    """
    return _program(data, _members(data, limits)[1])


def _members(data: bytes, limits: ArchiveLimits) -> tuple[str, Members]:
    if len(data) > limits.size_bytes:
        raise ArchiveError(
            f"The model file has {len(data)} bytes; at most {limits.size_bytes} are "
            "read.",
            remedy=wording.SMALLER,
        )
    root, found = layout.members(directory.entries(data, limits.members))
    members = exported_layout.named(found)
    expected = {
        "archive_format": b"pt2",
        "archive_version": b"0",
        "byteorder": b"little",
    }
    for name, content in expected.items():
        member = members.get(name)
        if member and inflated(data, member, _SMALL) != content:
            raise ArchiveError(
                f"The archive's {wording.quoted(name)} is not {content.decode()!r}.",
                remedy=exported_layout.EXPORT_ANEW,
            )
    return root, members


def _program(data: bytes, members: Members) -> Program:
    description = _json(data, members, exported_layout.PROGRAM)
    version = integer(mapping(description, "schema_version"), "major")
    if version != SCHEMA:
        raise ArchiveError(
            f"The program has schema {version}; {SCHEMA} is read.",
            remedy=exported_layout.EXPORT_ANEW,
        )
    module = mapping(description, "graph_module")
    graph, signature = mapping(module, "graph"), mapping(module, "signature")
    configs = {
        folder: mapping(_json(data, members, name), "config")
        for folder, name in exported_layout.CONFIGS.items()
    }
    source, tensors = exported_signature.inputs(
        items(signature, "input_specs"), configs, members
    )
    _refuse_spare(members, tensors)
    meta = mapping(mapping(graph, "tensor_values"), source)
    nodes = _nodes(items(graph, "nodes"))
    exported_flow.refuse_training(nodes)
    depends = exported_flow.dependent(nodes, source, tensors)
    output = exported_signature.output(items(signature, "output_specs"))
    if output not in depends:
        raise malformed("its output does not depend on its input")
    program = Program(
        input=source,
        dtype=dtype_name(integer(meta, "dtype")),
        sizes=exported_flow.sizes(meta),
        tensors=tensors,
        nodes=nodes,
        output=output,
        depends=depends,
    )
    return exported_flow.with_any_batch(program, mapping(graph, "tensor_values"))


def _nodes(records: list[Json]) -> tuple[Node, ...]:
    if len(records) > MOST_NODES:
        raise ArchiveError(
            f"The program calls {len(records)} operators; at most {MOST_NODES} are "
            "read.",
            remedy=wording.SMALLER,
        )
    return tuple(node(record) for record in records)


def _json(data: bytes, members: Members, name: str) -> Json:
    return parsed(inflated(data, members[name], MOST_JSON))


def _refuse_spare(members: Members, tensors: Mapping[str, StoredTensor]) -> None:
    starts = {tensor.start for tensor in tensors.values()}
    for name, member in members.items():
        tensor = exported_layout.TENSOR.fullmatch(name)
        if tensor and member.size and member.start not in starts:
            raise ArchiveError(
                f"The member {wording.quoted(name)} belongs to no tensor.",
                remedy=exported_layout.EXPORT_AGAIN,
            )
