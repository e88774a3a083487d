"""Every error the service adds to the library's tree, and its own status codes."""

from __future__ import annotations

from typing import ClassVar

from robustcert.errors import RobustCertError


class RequestError(RobustCertError):
    """A request that cannot be answered as it stands."""

    remedy = "See /openapi.json for what the service answers."
    status = 400
    title = "The request is not valid"
    retry_after: ClassVar[int | None] = None


class HashMismatchError(RequestError):
    """The bytes that arrived are not those that were announced."""

    remedy = "Compute the SHA-256 of the bytes you send, and send them again."
    title = "The bytes do not have this hash"


class ForeignRequestError(RequestError):
    """A request that a page of another site caused."""

    remedy = "Send the request from the service's own pages or from a program."
    status = 403
    title = "The request comes from elsewhere"


class NotFoundError(RequestError):
    """There is no such thing here."""

    remedy = "Check the id; list what there is."
    status = 404
    title = "Not found"


class UnknownBlobError(NotFoundError):
    """Bytes that were never uploaded, or have been deleted."""

    remedy = "Upload the bytes first: PUT /v1/blobs/{sha256}."
    title = "These bytes are not here"


class NotAcceptableError(RequestError):
    """None of the formats asked for is offered."""

    remedy = "Send an Accept header that names one of the formats."
    status = 406
    title = "No such format"


class SlowUploadError(RequestError):
    """An upload stopped sending."""

    remedy = "Send the upload again."
    status = 408
    title = "The upload stopped"


class ConflictError(RequestError):
    """The request does not fit what is there now."""

    remedy = "Read the resource again and decide."
    status = 409
    title = "The request conflicts with the present state"


class InUseError(ConflictError):
    """Something that a waiting or running evaluation needs."""

    remedy = "Wait for the evaluation or cancel it."
    title = "It is in use"


class IdempotencyConflictError(ConflictError):
    """An idempotency key came with two different bodies."""

    remedy = "Use a new Idempotency-Key for a new request."
    title = "The key belongs to another request"


class NoReportYetError(ConflictError):
    """The evaluation is not done."""

    remedy = "Wait: GET /v1/evaluations/{id}?wait=30."
    title = "There is no report yet"
    retry_after = 2


class NoReportError(ConflictError):
    """The evaluation ended without a report."""

    remedy = "Read the evaluation's problem, and submit it again."
    title = "There is no report"


class TooLargeError(RequestError):
    """A body larger than the service takes."""

    remedy = "Send a smaller file, or raise the service's ROBUSTCERT_UPLOAD_BYTES."
    status = 413
    title = "The body is too large"


class MediaTypeError(RequestError):
    """A body of a type that is not read here."""

    remedy = "Send JSON with the header Content-Type: application/json."
    status = 415
    title = "The body has the wrong type"


class WrongHostError(RequestError):
    """A request for another host, as DNS rebinding makes them."""

    remedy = "Address the service as 127.0.0.1 or localhost."
    status = 421
    title = "The request is for another host"


class BusyError(RequestError):
    """More than the service can take at the moment."""

    remedy = "Try again later; the header Retry-After says when."
    status = 503
    title = "The service is busy"
    retry_after = 2


class ServiceFaultError(RobustCertError):
    """The service itself failed; nothing is said about the model."""

    remedy = "Submit the evaluation again; report the fault if it stays."
    title = "The service failed"


class StorageFullError(ServiceFaultError):
    """No room is left where the service keeps its data."""

    remedy = "Make room in ROBUSTCERT_DATA_DIR, or delete models and samples."
    status = 507
    title = "The storage is full"


class DamagedBlobError(ServiceFaultError):
    """Stored bytes changed on the disk."""

    remedy = "Upload the file again, and check the disk."
    title = "The stored file is damaged"


class DataDirInUseError(ServiceFaultError):
    """Another service works in the same folder."""

    remedy = "Stop the other service, or set another ROBUSTCERT_DATA_DIR."
    title = "The data folder is in use"
    exit_code = 2
