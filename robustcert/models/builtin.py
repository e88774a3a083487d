"""What ships with the package: a demo model and its samples; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from robustcert.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Builtin:
    """A file in the package.

    Attributes:
        name: by which users ask for it.
        file: its name in ``robustcert/models/data``.
        title: one line for people.
        licence: of the content.
    """

    name: str
    file: str
    title: str
    licence: str

    def read(self) -> bytes:
        """The file's bytes."""
        return (files("robustcert.models") / "data" / self.file).read_bytes()


SAMPLE_SETS: dict[str, Builtin] = {
    "fashion-mnist-500": Builtin(
        "fashion-mnist-500",
        "fashion_mnist_500.npz",
        "the first 500 test images of Fashion-MNIST, 1x28x28, 10 classes",
        "MIT (Zalando SE)",
    ),
}

MODELS: dict[str, Builtin] = {
    "fashion-mnist-demo": Builtin(
        "fashion-mnist-demo",
        "fashion_mnist_demo.ts.pt",
        "a small convolutional net trained on Fashion-MNIST by examples/train_demo.py",
        "Apache-2.0",
    ),
}


def sample_set(name: str) -> Builtin:
    """The built-in sample set called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in SAMPLE_SETS:
        raise UnknownNameError(
            f"no sample set is called {name!r}",
            remedy=f"Give an .npz file, or one of: {', '.join(SAMPLE_SETS)}.",
        )
    return SAMPLE_SETS[name]
