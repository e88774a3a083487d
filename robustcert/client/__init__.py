"""The Python client of the service; torch-free.

:class:`Client` blocks; its awaiting twin is :class:`robustcert.client.aio.AsyncClient`.
The documents that travel are in :mod:`robustcert.client.wire`, shared with the service.
"""

from __future__ import annotations

from robustcert.client.client import Client

__all__ = ["Client"]
