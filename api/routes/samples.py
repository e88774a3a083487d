"""Sample sets: built-in ones, and uploads that were checked."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from robustcert.client.wire import SamplesPage, SamplesResource, SamplesSubmission

from ..dependencies import PROBLEMS, Cursor, IdInPath, Limit, TheService, json_only

router = APIRouter(prefix="/v1/samples", tags=["samples"], responses=PROBLEMS)


@router.post(
    "",
    summary="Make a sample set of an uploaded .npz file",
    status_code=201,
    dependencies=[Depends(json_only)],
    responses={200: {"model": SamplesResource, "description": "It was here already"}},
)
def post_samples(
    submission: SamplesSubmission, response: Response, service: TheService
) -> SamplesResource:
    """Check every number of ``inputs`` and ``labels``; nothing is unpickled."""
    samples, new = service.samples.accept(submission)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/samples/{samples.id}"
    return samples


@router.get("", summary="List sample sets: built-in ones first, then newest first")
def get_sample_sets(
    service: TheService, cursor: Cursor = None, limit: Limit = 50
) -> SamplesPage:
    """One page of sample sets."""
    return service.samples.page(cursor, limit)


@router.get("/{samples_id}", summary="One sample set")
def get_samples(samples_id: IdInPath, service: TheService) -> SamplesResource:
    """What is known about the sample set."""
    return service.samples.get(samples_id)


@router.delete("/{samples_id}", summary="Delete an uploaded set", status_code=204)
def delete_samples(samples_id: IdInPath, service: TheService) -> None:
    """Delete the set and its bytes; reports on it stay."""
    service.samples.delete(samples_id)
