"""Libraries that take an executor, or a ``map`` or a ``pool``, run on ours unchanged.

Each test is what a user of the library would write, on this machine and on a real Slurm;
the result is compared with what the library computes without us.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
import pytest

from clusterfutures import LocalExecutor, SlurmExecutor
from clusterfutures.testing import real_slurm
from clusterfutures.testing.real_slurm import RealSlurm

WORKERS = 2


@pytest.fixture(scope="module", params=["local", "slurm"])
def ex(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, real_slurm_or_none: RealSlurm | None
) -> Iterator[Executor]:
    """One executor for all tests: as in a session, its workers stay."""
    directory = tmp_path_factory.mktemp("runs")
    if request.param == "local":
        with LocalExecutor(max_workers=WORKERS, directory=directory) as executor:
            yield executor
    elif real_slurm_or_none is None:
        pytest.fail(real_slurm.INSTALL_HINT)
    else:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in real_slurm_or_none.environment.items():
                patch.setenv(name, value)
            with SlurmExecutor(max_workers=WORKERS, directory=directory) as executor:
                yield executor
    assert os.listdir(directory) == []


def elsewhere(_argument: object = None) -> bool:
    """True in a process that is not this one: proves that a call did not run here."""
    return os.environ.get("CLUSTERFUTURES_JOB_ID") is not None


def test_the_calls_do_run_in_jobs(ex: Executor) -> None:
    assert not elsewhere()
    assert list(ex.map(elsewhere, range(4))) == [True] * 4


# -- dask: scheduler=executor -----------------------------------------------------------


def test_dask_delayed(ex: Executor) -> None:
    import dask

    @dask.delayed
    def increment(x: int) -> int:
        return x + 1

    parts = [increment(i) for i in range(10)]
    where = dask.delayed(elsewhere)()
    assert dask.compute(dask.delayed(sum)(parts), where, scheduler=ex) == (55, True)


def test_dask_delayed_error(ex: Executor) -> None:
    import dask

    with pytest.raises(ZeroDivisionError):
        dask.compute(dask.delayed(operator.truediv)(1, 0), scheduler=ex)


def test_dask_array(ex: Executor) -> None:
    import dask
    import dask.array as da

    numbers = np.arange(400_000.0).reshape(4, -1)
    array = da.from_array(numbers, chunks=(1, 100_000))
    total, spread = dask.compute(array.sum(), (array - array.mean(axis=0)).std(), scheduler=ex)
    assert total == numbers.sum()
    assert spread == pytest.approx((numbers - numbers.mean(axis=0)).std())


def test_dask_bag(ex: Executor) -> None:
    import dask.bag as db

    bag = db.from_sequence(range(100), npartitions=4)
    found = bag.filter(lambda x: x % 2).map(lambda x: x * x).fold(operator.add).compute(scheduler=ex)
    assert found == sum(x * x for x in range(1, 100, 2))


# -- scipy: workers=executor.map --------------------------------------------------------


def rosenbrock(x: np.ndarray) -> float:
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def test_scipy_differential_evolution(ex: Executor) -> None:
    from scipy.optimize import differential_evolution

    options = {"bounds": [(-2, 2), (-2, 2)], "rng": 7, "updating": "deferred", "maxiter": 12, "polish": False}
    ours = differential_evolution(rosenbrock, workers=ex.map, **options)
    alone = differential_evolution(rosenbrock, **options)
    assert ours.x.tolist() == alone.x.tolist()
    assert ours.nfev == alone.nfev


# -- emcee: pool=executor ---------------------------------------------------------------


def log_probability(x: np.ndarray, centre: np.ndarray) -> float:
    return float(-0.5 * np.sum((x - centre) ** 2))


def test_emcee_sampler(ex: Executor) -> None:
    import emcee

    walkers, dimensions, steps = 16, 2, 12
    start = np.random.default_rng(3).normal(size=(walkers, dimensions))
    chains = []
    for pool in (ex, None):
        sampler = emcee.EnsembleSampler(walkers, dimensions, log_probability, args=[np.ones(dimensions)], pool=pool)
        sampler.random_state = np.random.RandomState(11).get_state()
        sampler.run_mcmc(start, steps)
        chains.append(sampler.get_chain())
    assert chains[0].shape == (steps, walkers, dimensions)
    assert np.array_equal(*chains)


# -- numpy ------------------------------------------------------------------------------


def scaled_in_place(array: np.ndarray, factor: float) -> np.ndarray:
    array *= factor
    return array


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["small", "large"])
def test_numpy_arrays_go_and_come_back(ex: Executor, size: int) -> None:
    array = np.arange(float(size))
    twice = ex.submit(scaled_in_place, array, 2.0).result()
    again = ex.submit(scaled_in_place, array, 3.0).result()  # the same bytes: not what the first call made of them
    assert np.array_equal(twice, np.arange(float(size)) * 2)
    assert np.array_equal(again, np.arange(float(size)) * 3)
    assert np.array_equal(array, np.arange(float(size)))
    twice += 1  # what came back may be changed


def test_numpy_arrays_in_a_map(ex: Executor) -> None:
    matrix = np.random.default_rng(5).normal(size=(400, 400))
    norms = list(ex.map(lambda row: (row, float(matrix[row] @ matrix[row])), range(0, 400, 20)))
    assert norms == [(row, float(matrix[row] @ matrix[row])) for row in range(0, 400, 20)]


def test_numpy_kinds(ex: Executor) -> None:
    strided = np.arange(300_000.0).reshape(500, 600)[::2, ::3].T
    record = np.array([(1, 2.5, "a"), (2, 3.5, "b")], dtype=[("n", "i4"), ("x", "f8"), ("s", "U3")])
    mixed = np.array([{"k": 1}, None, "text"], dtype=object)
    for sent in (strided, record, mixed, np.float32(1.5), np.array(3), np.ma.masked_equal([1, 2, 3], 2)):
        got = ex.submit(lambda value: value, sent).result()
        assert type(got) is type(sent)
        assert got.dtype == sent.dtype
        assert np.array_equal(got, sent)
