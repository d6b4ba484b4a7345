"""What ``print(job)`` says: how the job is doing, when what happened, its last words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clusterfutures.jobs.job import Job

__all__ = ["story"]


def story(job: Job) -> str:
    """A line for how the job is doing, one for each thing that has happened to it."""
    head = f"job {job.id or '(not submitted)'} {job.name!r} on {job.scheduler}"
    if not job.id and not job.record.get("never"):
        return head
    status = job.look()
    how = status.state.value if not status.exit_code else f"{status.state.value}, exit code {status.exit_code}"
    lines = [f"{head}: {how}" + (f" ({status.reason})" if status.reason else "")]
    for what, at in (("submitted", job.submitted), ("started", job.started), ("ended", job.ended)):
        if at is not None:
            where = f" on {', '.join(job.nodes)}" if what == "started" else ""
            lines.append(f"  {what:9} {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}{where}")
    lines.append(f"  files     {job.path}")
    return "\n".join([*lines, *(f"  stderr    {line}" for line in job.stderr.splitlines()[-5:])])
