"""Models: uploads that passed the static scan."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from robustcert.client.wire import ModelPage, ModelResource, ModelSubmission

from ..dependencies import PROBLEMS, Cursor, IdInPath, Limit, TheService, json_only

router = APIRouter(prefix="/v1/models", tags=["models"], responses=PROBLEMS)


@router.post(
    "",
    summary="Make a model of uploaded bytes",
    status_code=201,
    dependencies=[Depends(json_only)],
    responses={200: {"model": ModelResource, "description": "It was here already"}},
)
def post_model(
    submission: ModelSubmission, response: Response, service: TheService
) -> ModelResource:
    """Scan the bytes, without running them, and list them as a model."""
    model, new = service.models.accept(submission)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/models/{model.id}"
    return model


@router.get("", summary="List models, newest first")
def get_models(
    service: TheService, cursor: Cursor = None, limit: Limit = 50
) -> ModelPage:
    """One page of models."""
    return service.models.page(cursor, limit)


@router.get("/{model_id}", summary="One model")
def get_model(model_id: IdInPath, service: TheService) -> ModelResource:
    """What is known about the model."""
    return service.models.get(model_id)


@router.delete("/{model_id}", summary="Delete a model", status_code=204)
def delete_model(model_id: IdInPath, service: TheService) -> None:
    """Delete the model and its bytes; reports about it stay."""
    service.models.delete(model_id)
