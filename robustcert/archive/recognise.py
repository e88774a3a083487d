"""What kind of model a file is, by its bytes; what to do about those we do not read."""

from __future__ import annotations

from collections.abc import Collection

from robustcert.archive import wording
from robustcert.archive.directory import LOCAL_MAGIC
from robustcert.errors import ArchiveError

PICKLE_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(1, 6))
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
HDF5 = b"\x89HDF\r\n\x1a\n"
# Tags of the first two fields of an ONNX ModelProto: ir_version, then another field.
ONNX_FIRST_TAG = b"\x08"
ONNX_SECOND_TAGS = frozenset((0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2))
ONNX_VERSIONS = range(1, 32)


def is_onnx(data: bytes) -> bool:
    """Whether the file begins like an ONNX model, which has no magic number."""
    version = data[1:2] and data[1] in ONNX_VERSIONS
    second = data[2:3] and data[2] in ONNX_SECOND_TAGS
    return data[:1] == ONNX_FIRST_TAG and bool(version and second)


def refuse_other_formats(data: bytes) -> None:
    """Refuse, by name, whatever does not begin like a zip archive.

    Raises:
        ArchiveError: with the remedy that fits the format.
    """
    if not data:
        raise ArchiveError("The model file is empty.", remedy=wording.SEND_AGAIN)
    if data.startswith(LOCAL_MAGIC):
        return
    if data.startswith(PICKLE_PROTOCOLS):
        raise _eager("a pickle, as older versions of torch.save write it,")
    if data.startswith(COMPRESSED):
        raise ArchiveError(
            "The file is compressed.", remedy="Unpack it and send the model itself."
        )
    if data.startswith(HDF5) or data[8:10] == b'{"':
        raise ArchiveError(
            "The file holds weights (HDF5 or safetensors) without a network.",
            remedy="Load the weights into the PyTorch model. " + wording.SCRIPT,
        )
    raise ArchiveError(
        "The file is not a TorchScript archive, nor another model format we know.",
        remedy=wording.SCRIPT,
    )


def refuse_other_archives(names: Collection[str]) -> None:
    """Refuse zip archives that hold another kind of model, by their members' names.

    Args:
        names: below the archive's root.

    Raises:
        ArchiveError: with the remedy that fits the format.
    """
    if "bytecode.pkl" in names:
        raise ArchiveError(
            "The file was saved for PyTorch's mobile interpreter.",
            remedy=wording.SCRIPT,
        )
    has_code = any(name.startswith("code/") for name in names)
    if "data.pkl" in names and not (has_code and "constants.pkl" in names):
        raise _eager("a state dict or an eager module saved with torch.save,")
    if "data.pkl" not in names:
        raise ArchiveError(
            "The file is a zip archive without a model in it.", remedy=wording.SCRIPT
        )


def _eager(what: str) -> ArchiveError:
    return ArchiveError(
        f"The file is {what} which holds weights but no program.",
        remedy="Build the model in Python, load the weights, then script or trace it: "
        + wording.SCRIPT,
    )
