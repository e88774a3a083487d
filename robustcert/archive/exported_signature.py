"""What a torch.export program takes, stores and returns, by its signature.

A classifier takes one tensor and returns one; what else it reads are stored tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

from robustcert.archive import exported_layout, wording
from robustcert.archive.exported_json import Json, malformed, mapping, text, variant
from robustcert.archive.exported_nodes import tensor_name
from robustcert.archive.exported_program import StoredTensor
from robustcert.archive.exported_tensors import stored
from robustcert.archive.report import Member
from robustcert.errors import ArchiveError

EVAL_REMEDY = "Call model.eval() before the export."


def inputs(
    specs: list[Json], configs: Mapping[str, Json], members: Mapping[str, Member]
) -> tuple[str, dict[str, StoredTensor]]:
    """The name of the model's input, and the stored tensors by their names.

    Args:
        specs: of the inputs, as the signature lists them.
        configs: payload records by the folder that they are about.
        members: of the archive.

    Raises:
        ArchiveError: the model takes several inputs, or objects; or a tensor does not
            fit its bytes.
    """
    sources: list[str] = []
    tensors: dict[str, StoredTensor] = {}
    for spec in specs:
        kind, content = variant(spec)
        if kind == "user_input":
            sources.append(tensor_name(mapping(content, "arg")))
            continue
        title, folder = _title(kind, content)
        name = text(mapping(content, "arg"), "name")
        if name in tensors:
            raise malformed("an input is given twice")
        payload = mapping(configs[folder], title)
        tensors[name] = stored(title, payload, folder, members)
    if len(sources) != 1 or sources[0] in tensors:
        raise ArchiveError(
            f"The model takes {len(sources)} inputs, not one.",
            remedy="Wrap it so that forward takes one tensor.",
        )
    return sources[0], tensors


def output(specs: list[Json]) -> str:
    """The name of the one tensor that the model returns.

    Raises:
        ArchiveError: it returns something else, or changes its buffers.
    """
    kinds = [variant(spec)[0] for spec in specs]
    state = [kind for kind in kinds if kind.endswith("_mutation")]
    if state:
        raise ArchiveError(
            f"The model keeps state between calls ({state[0]}).", remedy=EVAL_REMEDY
        )
    if kinds != ["user_output"]:
        raise ArchiveError(
            f"The model returns {len(kinds)} values, not one tensor of scores.",
            remedy="Wrap it so that forward returns the logits alone.",
        )
    return tensor_name(mapping(specs[0]["user_output"], "arg"))


def _title(kind: str, content: Json) -> tuple[str, str]:
    """A stored tensor's name for the user, and the folder its bytes lie in."""
    if kind == "parameter":
        return text(content, "parameter_name"), exported_layout.WEIGHTS
    if kind == "buffer":
        kept = content.get("persistent") is True
        folder = exported_layout.WEIGHTS if kept else exported_layout.CONSTANTS
        return text(content, "buffer_name"), folder
    if kind == "tensor_constant":
        return text(content, "tensor_constant_name"), exported_layout.CONSTANTS
    raise ArchiveError(
        f"The model has an input of kind {wording.quoted(kind)}, which no classifier "
        "needs.",
        remedy="Wrap it so that forward takes one tensor.",
    )
