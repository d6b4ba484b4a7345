"""The placeholder in a pickled call for another call's result.

A future among the arguments of ``submit`` is pickled as ``result(i)``; the client sends
the i-th result along once it is known, and the process that runs the call puts them into
``results`` before it unpickles the arguments.
"""

from __future__ import annotations

from typing import Any

__all__ = ["client_run", "node_run", "result", "results"]

results: list[Any] = []
#: the run directory that this process works for; and the last one that it made as a program
node_run = client_run = ""


def result(index: int) -> Any:
    """The result that stands at ``index``; called by the unpickler."""
    return results[index]
