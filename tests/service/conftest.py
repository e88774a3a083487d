"""The service and its visitors."""

from __future__ import annotations

from tests.service.fixtures import client, http, model_bytes, other_model, service

__all__ = ["client", "http", "model_bytes", "other_model", "service"]
