"""Fixtures for pytest: ``fake_slurm``, ``fake_pbs``, ``fake_torque``.

Each is a running stand-in, with its commands first on the PATH during the test; options go
into ``configure``, or use the classes of ``clusterfutures.testing`` directly::

    def test_it(fake_slurm):
        fake_slurm.fail_next("sbatch", text="sbatch: error: no", code=1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .standin import FakePBS, FakeSlurm, FakeTorque

# The stand-ins are imported in the fixtures: this module is loaded into every pytest run
# where clusterfutures is installed.


@pytest.fixture
def fake_slurm() -> Iterator[FakeSlurm]:
    """A stand-in for Slurm."""
    from .standin import FakeSlurm

    with FakeSlurm() as slurm:
        yield slurm


@pytest.fixture
def fake_pbs() -> Iterator[FakePBS]:
    """A stand-in for PBS Pro."""
    from .standin import FakePBS

    with FakePBS() as pbs:
        yield pbs


@pytest.fixture
def fake_torque() -> Iterator[FakeTorque]:
    """A stand-in for Torque."""
    from .standin import FakeTorque

    with FakeTorque() as torque:
        yield torque
