"""The limit: the bare scheduler, without any library.

    script -> sbatch -> each element starts Python, which makes a file -> we list the directory

What comes on top of this in a cold call or a cold map is the library's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["bare_array", "python_start"]

_SCRIPT = """#!/bin/sh
#SBATCH --output=/dev/null
exec {python} -c "open('{directory}/' + '${{SLURM_ARRAY_TASK_ID:-0}}', 'w').close()"
"""


def bare_array(count: int, limit: float = 60.0) -> dict[str, float]:
    """Seconds from writing the script until all of ``count`` jobs have started Python.

    count 1: a single job, no array.
    """
    with tempfile.TemporaryDirectory() as path:
        seen = Path(path, "seen")
        begun = time.perf_counter()
        seen.mkdir()
        script = Path(path, "job.sh")
        script.write_text(_SCRIPT.format(python=sys.executable, directory=seen))
        array = [f"--array=0-{count - 1}"] if count > 1 else []
        subprocess.run(["sbatch", "--parsable", *array, str(script)], check=True, stdout=subprocess.DEVNULL)
        while len(os.listdir(seen)) < count:
            if time.perf_counter() - begun > limit:
                raise TimeoutError(f"{count} bare jobs did not start within {limit:g} s")
            time.sleep(0.001)
        return {"seconds": time.perf_counter() - begun}


def python_start(statement: str, python: str = sys.executable) -> dict[str, float]:
    """Seconds that an interpreter takes for a statement, from its start to its end."""
    begun = time.perf_counter()
    subprocess.run([python, "-c", statement], check=True)
    return {"seconds": time.perf_counter() - begun}
