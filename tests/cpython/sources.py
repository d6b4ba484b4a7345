"""Where this Python keeps its tests of ``concurrent.futures``.

From 3.12 on they are a package of modules, before that one module; a name of the package
stands for the same tests in both.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from test import test_concurrent_futures as whole

__all__ = ["IS_PACKAGE", "as_completed", "deadlock", "init", "process_pool", "shutdown", "util", "wait"]


IS_PACKAGE = hasattr(whole, "__path__")


def _part(name: str) -> ModuleType:
    return importlib.import_module(f"{whole.__name__}.{name}") if IS_PACKAGE else whole


as_completed = _part("test_as_completed")
deadlock = _part("test_deadlock")
init = _part("test_init")
process_pool = _part("test_process_pool")
shutdown = _part("test_shutdown")
util = _part("util")
wait = _part("test_wait")
