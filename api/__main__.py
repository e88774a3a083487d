"""``python -m api`` in a checkout, ``python -m robustcert_server`` when installed."""

from __future__ import annotations

import sys

from robustcert.errors import RobustCertError

from .serve import serve
from .settings import load_settings

if __name__ == "__main__":
    try:
        serve(load_settings())
    except RobustCertError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        sys.exit(error.exit_code)
