"""The ``__main__`` of processes that calls start by spawn or forkserver; multiprocessing runs this module there.

See ``child_processes.py``.
"""

from __future__ import annotations

from clusterfutures.pickling import child_processes, definitions

__all__: list[str] = []

if __name__ == "__mp_main__":
    globals().update(definitions.take_over(*child_processes.parents_definitions()))
