"""A peer in a process of its own: reads what to measure, answers with figures.

    python driver.py PEER DIRECTORY SLOTS

One JSON object a line, in on stdin and out on stdout:

    {"workload": "warm_map", "count": 1000}   ->   {"seconds": 0.01, "cpu": 0.004}
                                              ->   {"error": "TimeoutError: ..."}

What peers print goes to stderr.  ``session.py`` is the other side.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import trouble
import workloads
from peers import peer_class


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, directory, slots = sys.argv[1:4]
    workloads.WORKLOADS.update(trouble.WORKLOADS)
    if name.startswith("ours"):
        import engine

        workloads.WORKLOADS.update(engine.WORKLOADS)
    peer = peer_class(name)(Path(directory), int(slots))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = workloads.WORKLOADS[request.pop("workload")](peer, **request)
        except BaseException as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # a peer that hangs at its end must not keep us


if __name__ == "__main__":
    main()
