"""The executor that the scripts use: the standard library's, or one of ours by ``$DROPIN_EXECUTOR``."""

from __future__ import annotations

import os

_NAME = os.environ.get("DROPIN_EXECUTOR", "ProcessPoolExecutor")
if _NAME == "ProcessPoolExecutor":
    from concurrent.futures import ProcessPoolExecutor as Executor
else:
    import clusterfutures

    Executor = getattr(clusterfutures, _NAME)

__all__ = ["Executor"]
