"""The executor that the scripts use: the standard library's, or one of ours by ``$DROPIN_EXECUTOR``."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

_NAME = os.environ.get("DROPIN_EXECUTOR", "ProcessPoolExecutor")
if _NAME != "ProcessPoolExecutor":
    import clusterfutures

    Executor = getattr(clusterfutures, _NAME)
elif sys.version_info < (3, 14):
    Executor = ProcessPoolExecutor
else:

    class Executor(ProcessPoolExecutor):
        """By fork, as until Python 3.13: calls have the program's globals as they are, not as its file makes them."""

        def __init__(self, max_workers=None, mp_context=None, *rest, **more):
            if mp_context is None and "max_tasks_per_child" not in more:  # no fork does that
                mp_context = multiprocessing.get_context("fork")
            super().__init__(max_workers, mp_context, *rest, **more)

    Executor.__name__ = Executor.__qualname__ = "ProcessPoolExecutor"

__all__ = ["Executor"]
