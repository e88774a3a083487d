"""Model files: scanned first, loaded after."""

from __future__ import annotations

from pathlib import Path

from robustcert.archive.inspect import inspect
from robustcert.errors import ModelLoadError
from robustcert.models.builtin import MODELS
from robustcert.models.interface import LoadedModel
from robustcert.models.torchscript import load_torchscript


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
            remedy=f"Give a TorchScript file, or one of: {', '.join(MODELS)}.",
        ) from error


def load_model(
    data: bytes, *, input_shape: tuple[int, ...] | None = None
) -> LoadedModel:
    """Scan the bytes of a model file, then load it.

    Raises:
        ArchiveError: the scan refuses the file.
        UnreadableInputError: it cannot be loaded or run.
        UnsoundModelError: its weights are not finite.
    """
    inspect(data)
    return load_torchscript(data, input_shape=input_shape)
