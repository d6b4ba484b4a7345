"""How long the job has left.

    the scheduler --SLURM_JOB_END_TIME, or start + limit--> script: CLUSTERFUTURES_JOB_END --> remaining_time()

The script of the job reads the clock of the node, so the clock of the client does not matter.
"""

from __future__ import annotations

import math
import os
import time

__all__ = ["JOB_END", "remaining_time"]

#: when the job ends, in seconds since the epoch; empty without a limit
JOB_END = "CLUSTERFUTURES_JOB_END"


def remaining_time() -> float:
    """Seconds until the time limit of the job in which this call runs; never negative.

    ``math.inf`` without a known limit, and outside of a job: so ``remaining_time() < 60``
    is always a fair question.  A few seconds may be missing: the scheduler's clock is not
    quite the node's, and what counts a job's time differs between schedulers.
    """
    try:
        end = float(os.environ.get(JOB_END, ""))
    except ValueError:
        return math.inf
    return max(0.0, end - time.time()) if math.isfinite(end) else math.inf
