"""What a job's script has to say to become a worker of a run.

The client writes it, the node obeys it; neither may import the other, so the words that
both must agree on stand here.
"""

from __future__ import annotations

import shlex
import sys

from clusterfutures.store.run_directory import RunDirectory

__all__ = ["EXIT_NO_CHECK_IN", "EXIT_NO_SPACE", "check_in_lines", "worker_command"]

EXIT_NO_CHECK_IN = 71
EXIT_NO_SPACE = 72

# The interpreter is compared before anything is imported: an older one could not even
# read our modules, and would say so less clearly.
_BOOTSTRAP = (
    "import sys; sys.path = [p for p in sys.path if p] + sys.argv[4:5]; "
    "sys.version_info[:2] == {version} or sys.exit('clusterfutures: this worker cannot start: Python %d.%d in %s, but "
    "{major}.{minor} where the program runs: they must be the same; name the right interpreter with python=' "
    "% (*sys.version_info[:2], sys.executable)); "
    "from clusterfutures.node.main import main; main()"
)


def worker_command(python: str, run: RunDirectory, worker_group: str, batch: str, package_directory: str) -> list[str]:
    """The argv of a worker: ``python -c <bootstrap> run worker group batch package_directory``."""
    major, minor = sys.version_info[:2]
    bootstrap = _BOOTSTRAP.format(version=(major, minor), major=major, minor=minor)
    return [python, "-c", bootstrap, run.path, worker_group, batch, package_directory]


def check_in_lines(run: RunDirectory, batch: str) -> list[str]:
    """Shell lines that check the worker in, or end the job when it is not wanted.

    ``mkdir`` is the arbiter: what is there already, a directory or a file, was made by the client,
    which wants this job no more, and then not even Python is started.
    """
    prefix = shlex.quote(run.check_in_path(batch))
    return [
        f'worker={prefix}"-$CLUSTERFUTURES_INDEX-$CLUSTERFUTURES_ATTEMPT"',
        f'mkdir -m 700 "$worker" 2>/dev/null || {{ [ -e "$worker" ] && exit 0; '
        f'mkdir -m 700 "$worker"; exit {EXIT_NO_CHECK_IN}; }}',
    ]
