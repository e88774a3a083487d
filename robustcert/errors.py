"""Every error robustcert raises on purpose, each with a remedy.

The tree::

    RobustCertError
    ├── UsageError                the caller asked for something without an answer
    │   ├── InvalidThreatModelError   epsilon below 0, an empty box
    │   ├── UnknownNameError          no such attack, bound, certifier, samples
    │   └── PolicyError               the gate's policy cannot be read
    ├── UnreadableInputError      a file or an upload is not what it claims to be
    │   ├── ArchiveError              a model file is refused before it is loaded
    │   ├── ModelLoadError            a model cannot be loaded or run on its input
    │   ├── InputShapeError           the input shape is unknown, ambiguous or wrong
    │   ├── SamplesError              samples or labels are unusable
    │   └── DocumentError             a report document cannot be read
    ├── UnsupportedLayerError     a layer has no rule in this method
    ├── CertificateError          a certificate does not prove what it claims
    ├── EvaluationError           the evaluation started and could not be finished
    │   ├── UnsoundModelError         NaN weights, a random model: no claim is made
    │   ├── ConsistencyError          a report breaks a law: it is not issued
    │   ├── EvaluationCancelledError  somebody cancelled it
    │   └── SandboxError              the model's own process failed
    │       ├── TimeLimitError
    │       ├── MemoryLimitError
    │       └── ChildCrashedError
    └── ServiceError              the service answered with a problem document

The command line exits with :attr:`RobustCertError.exit_code`; the service answers with
:attr:`RobustCertError.status` and the same two sentences as problem+json.
"""

from __future__ import annotations

from typing import ClassVar


class RobustCertError(Exception):
    """Base of every error the library raises on purpose.

    Args:
        message: one sentence that says what is wrong.
        remedy: one sentence that says what to do; the class has a general one.
    """

    remedy: str = "Run `robustcert doctor` and read its output."
    exit_code: ClassVar[int] = 4
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The evaluation failed"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy or type(self).remedy

    @property
    def message(self) -> str:
        """The sentence that says what is wrong."""
        return str(self.args[0])

    @property
    def kind(self) -> str:
        """The error's name on the wire, such as ``samples-error``."""
        name = type(self).__name__
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


class UsageError(RobustCertError):
    """The caller asked for something that has no answer."""

    remedy = "See `robustcert COMMAND --help`."
    exit_code = 2
    status = 422
    title = "The request cannot be answered"


class InvalidThreatModelError(UsageError):
    """The norm, epsilon or box of a threat model is unusable."""

    remedy = "Give a finite epsilon of at least 0 and a box with low <= high."


class UnknownNameError(UsageError):
    """A name is not in its registry."""

    remedy = "Choose one of the names listed."


class PolicyError(UsageError):
    """The gate's policy cannot be read."""

    remedy = "Compare the policy with the example in the README."


class UnreadableInputError(RobustCertError):
    """A file or an upload is not what it claims to be."""

    remedy = "Check the file."
    exit_code = 2
    status = 422
    title = "The input cannot be used"


class ArchiveError(UnreadableInputError):
    """A model file is refused before it is loaded."""

    remedy = (
        "Save the model with torch.jit.save(torch.jit.script(model.eval()), FILE) "
        "or torch.jit.trace."
    )
    title = "The model file is refused"


class ModelLoadError(UnreadableInputError):
    """The model cannot be loaded, or fails on an input of its shape."""

    remedy = "Check that the model runs on one sample after it is loaded again."
    title = "The model cannot be used"


class InputShapeError(UnreadableInputError):
    """The model's input shape is unknown, ambiguous or not that of the samples."""

    remedy = "Name the shape, without the batch: --input-shape C,H,W."
    title = "The input shape does not fit"


class SamplesError(UnreadableInputError):
    """Samples or labels are unusable."""

    remedy = (
        "Give an .npz file with `inputs` (N, *shape) inside the box and `labels` (N,)."
    )
    title = "The samples cannot be used"


class DocumentError(UnreadableInputError):
    """A report document cannot be read."""

    remedy = "Give a document with schema robustcert/report/v1."
    title = "The document cannot be read"


class UnsupportedLayerError(RobustCertError):
    """A layer of the model has no rule in this method."""

    remedy = "Choose a method that covers the layer, or report attacks alone."
    exit_code = 4
    status = 422
    title = "A layer has no rule"

    def __init__(self, layer: str, reason: str, *, remedy: str = "") -> None:
        super().__init__(f"layer {layer!r}: {reason}", remedy=remedy)
        self.layer = layer
        self.reason = reason


class CertificateError(RobustCertError):
    """A certificate does not prove what it claims about a model."""

    remedy = "Do not rely on the certificate; issue it again from the model's file."
    exit_code = 1
    status = 422
    title = "The certificate is refused"


class EvaluationError(RobustCertError):
    """The evaluation started and could not be finished."""

    remedy = "Run it again with fewer samples, or report the error with the model."


class UnsoundModelError(EvaluationError):
    """Nothing can be claimed about this model (NaN weights, random outputs)."""

    remedy = "Export the model in eval mode, with finite weights."
    status = 422
    title = "Nothing can be claimed about this model"


class ConsistencyError(EvaluationError):
    """A report breaks a law of robustness and is not issued."""

    remedy = "This is a fault of robustcert: please report it with the model and seed."


class EvaluationCancelledError(EvaluationError):
    """The caller called the evaluation off; its process was killed."""

    remedy = "Start the evaluation again."
    status = 409
    title = "The evaluation was cancelled"


class SandboxError(EvaluationError):
    """The process that runs the model failed."""

    remedy = "Check that the model runs within the limits, or raise them."


class TimeLimitError(SandboxError):
    """The model's process ran past its time limit and was killed."""

    remedy = "Ask for fewer samples or a cheaper tier, or raise the time limit."


class MemoryLimitError(SandboxError):
    """The model's process ran past its memory limit."""

    remedy = "Ask for fewer samples, or raise the memory limit."


class ChildCrashedError(SandboxError):
    """The model's process ended without an answer."""

    remedy = "Check that the model runs in a process of its own."


class ServiceError(RobustCertError):
    """The service answered with a problem document."""

    remedy = "Read the problem's remedy; check the service's address."
