"""Model files: scanned first, loaded after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robustcert.archive.inspect import inspect
from robustcert.errors import InputShapeError, ModelLoadError
from robustcert.graph.onnx.load import load_onnx
from robustcert.models.builtin import MODELS
from robustcert.models.exported import load_exported
from robustcert.models.interface import LoadedModel
from robustcert.models.torchscript import load_torchscript

Shape = tuple[int, ...]


def read_model_file(name_or_path: str) -> bytes:
    """The bytes of a model file, or of a built-in model by its name.

    Raises:
        ModelLoadError: there is neither.
    """
    if name_or_path in MODELS:
        return MODELS[name_or_path].read()
    try:
        return Path(name_or_path).read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"the model file {name_or_path!r} cannot be read: {error.strerror}",
            remedy=f"Give a TorchScript, .pt2 or ONNX file, or one of: "
            f"{', '.join(MODELS)}.",
        ) from error


def load_model(
    data: bytes, *, input_shape: Shape | None = None, sample_shape: Shape | None = None
) -> LoadedModel:
    """Scan the bytes of a model file, then load it by the format they are in.

    Args:
        data: the file's bytes; its name plays no part.
        input_shape: without the batch, as somebody named it.
        sample_shape: of the samples to be given, taken where nobody named a shape and
            the file does not tell one. TorchScript never tells; ONNX and torch.export
            mostly do, and other samples are refused later.

    Raises:
        ArchiveError: the scan refuses the file.
        UnreadableInputError: it cannot be loaded or run.
        UnsupportedLayerError: an ONNX file has an operator without a rule.
        UnsoundModelError: its weights are not finite.
    """
    kind = inspect(data).format
    if kind == "torchscript":
        return load_torchscript(data, input_shape=input_shape or sample_shape)
    load = _WITH_SHAPE[kind]
    if input_shape is not None or sample_shape is None:
        return load(data, input_shape=input_shape)
    try:
        return load(data)
    except InputShapeError:
        return load(data, input_shape=sample_shape)


_WITH_SHAPE: dict[str, Callable[..., LoadedModel]] = {
    "torch.export": load_exported,
    "onnx": load_onnx,
}
"""Loaders of the formats that tell the input's shape, by the scan's name of them."""
