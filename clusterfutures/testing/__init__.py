"""Test programs that use clusterfutures without a cluster.

``FakeSlurm``, ``FakePBS`` and ``FakeTorque`` put stand-ins for the commands of a scheduler on
the PATH.  They take the options, give the answers and have the quirks of the real ones, and
run the jobs as local processes::

    from clusterfutures import SlurmExecutor
    from clusterfutures.testing import FakeSlurm

    def test_my_program():
        with FakeSlurm(cpus=4) as slurm:
            with SlurmExecutor() as executor:
                assert list(executor.map(abs, [-1, -2])) == [1, 2]
            assert slurm.calls("sbatch") == 1

With pytest, use the fixtures ``fake_slurm``, ``fake_pbs`` or ``fake_torque``.

A stand-in fails on demand (``fail_next``, ``flaky``, ``slow``, ``accept_but_time_out``,
``banner``, ``submit_limit``, ``down``, ``preempt``, ``kill_node``, ``forget`` ...), so that a
program can be shown a cluster's worst days.

How data passes: ``standin`` (this process) writes a directory; each command in its ``bin``
starts ``command``, which calls a ``Dialect`` (``pbs``, ``torque``, ``slurm``) and keeps
its data in ``state``; ``runner`` processes run the jobs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checkers know this name; each command of a stand-in imports this
if TYPE_CHECKING:
    from .standin import FakePBS as FakePBS
    from .standin import FakeSlurm as FakeSlurm
    from .standin import FakeTorque as FakeTorque
    from .standin import StandIn as StandIn

__all__ = ["FakePBS", "FakeSlurm", "FakeTorque", "StandIn"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import standin

        return getattr(standin, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
