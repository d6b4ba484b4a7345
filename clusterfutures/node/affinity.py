"""A slot's share of what its job was given: cores, GPUs, threads.

Pure decisions on top, their effects below.  A job with several processes divides its
cores and GPUs between them.  Variables tell the libraries that start a thread per core how many
cores that is, unless the user told them already.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["cores_of", "gpus_of", "take_share", "thread_variables"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def cores_of(slot: int, slots: int, cores: Sequence[int]) -> list[int]:
    """The cores that ``slot`` of ``slots`` uses: a contiguous share of ``cores``, or one
    of them in turn when there are fewer cores than slots."""
    ordered = sorted(cores)
    if slots == 1 or len(ordered) < slots:
        return [ordered[slot % len(ordered)]] if slots > 1 and ordered else ordered
    return ordered[slot * len(ordered) // slots : (slot + 1) * len(ordered) // slots]


def gpus_of(slot: int, slots: int, visible: str) -> str:
    """The GPUs that ``slot`` of ``slots`` sees, of the comma list ``visible``."""
    gpus = [gpu for gpu in visible.split(",") if gpu]
    if slots == 1 or not gpus:
        return visible
    if len(gpus) < slots:
        return gpus[slot % len(gpus)]
    return ",".join(gpus[slot * len(gpus) // slots : (slot + 1) * len(gpus) // slots])


def thread_variables(threads: int, told: Sequence[str]) -> dict[str, str]:
    """Return the variables that set the number of threads, except those that the user set.

    ``told`` names the variables that the user's own environment had.  A scheduler may
    have set others (PBS sets OMP_NUM_THREADS to the job's cores); those are replaced.
    """
    return {name: str(threads) for name in _THREAD_VARIABLES if name not in told}


def take_share(slot: int, slots: int, job_cores: int, told: Sequence[str]) -> None:
    """Confine this process to its share.  Called after the fork, before user code.

    job_cores: cores that the scheduler gave the job (0: it did not say).  Where the job
    may use more cores than it was given (nothing binds it), binding would only crowd the
    processes of several jobs onto the same cores, so affinity is left alone.
    """
    allowed = os.sched_getaffinity(0)
    bound = not job_cores or len(allowed) <= job_cores
    if slots > 1 and bound:
        mine = cores_of(slot, slots, sorted(allowed))
        os.sched_setaffinity(0, mine)
        threads = len(mine)
    else:
        threads = max(1, min(len(allowed), job_cores or len(allowed)) // slots)
    os.environ.update(thread_variables(threads, told))
    for name in _GPU_VARIABLES:
        if os.environ.get(name):
            os.environ[name] = gpus_of(slot, slots, os.environ[name])
