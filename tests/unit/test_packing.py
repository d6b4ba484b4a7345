"""Which jobs start: order, backfilling, dependencies, and how well 500 jobs are packed, by a simulated clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from clusterfutures.schedulers.base import Dependency
from clusterfutures.schedulers.local_queue.packing import PASSES, Packing


def packed(capacity: int, *cores: int) -> Packing:
    """Jobs 1, 2, ... that ask for so many cores."""
    packing = Packing(capacity)
    for job_id, asked in enumerate(cores, 1):
        assert packing.add(job_id, asked) == []
    return packing


def test_in_order_and_as_many_as_fit() -> None:
    packing = packed(4, 1, 2, 1, 1)
    assert packing.start() == {1: 1, 2: 2, 3: 1}
    assert packing.start() == {}
    packing.end(2, True)
    assert packing.start() == {4: 1}


def test_small_ones_pass_a_large_one_but_not_for_ever() -> None:
    packing = packed(2, 1, 2, *[1] * (PASSES + 1))
    running, order = list(packing.start()), []
    while running:
        order.append(running.pop(0))
        packing.end(order[-1], True)
        running += packing.start()
    assert order == [1, *range(3, PASSES + 3), 2, PASSES + 3]


def test_who_asks_for_more_than_there_is_gets_all() -> None:
    packing = packed(2, 4, 3, 2, 1)
    assert packing.start() == {1: 2}
    packing.end(1, True)
    assert packing.start() == {2: 2}
    packing.end(2, True)
    assert packing.start() == {3: 2}


def test_a_capacity_that_changes() -> None:
    packing = packed(2, 1, 1, 1, 3)
    assert packing.start() == {1: 1, 2: 1}
    packing.capacity = 1
    packing.end(1, True)
    assert packing.start() == {}
    packing.capacity = 4
    packing.end(2, True)
    assert packing.start() == {3: 1, 4: 3}


def test_a_limit_is_that_of_the_jobs_which_have_one() -> None:
    packing = Packing(4)
    for job_id, (cores, limit) in enumerate([(1, 1), (1, 1), (2, None), (9, 1), (1, None), (1, None)], 1):
        packing.add(job_id, cores, limit=limit)
    assert packing.start() == {1: 1, 3: 2, 5: 1}
    assert packing.end(1, True) == []
    assert packing.start() == {2: 1}
    packing.end(2, True)
    assert packing.start() == {4: 1}
    packing.end(3, True)
    assert packing.start() == {6: 1}
    wide = Packing(2)
    for job_id in range(1, 6):
        wide.add(job_id, 1, limit=4)
    wide.add(6, 1)
    assert wide.start() == {1: 1, 2: 1, 3: 1, 4: 1}


def test_chains_and_diamonds() -> None:
    packing = packed(9, 1)
    for job_id, needs in [(2, "1"), (3, "1"), (4, "23")]:
        packing.add(job_id, 1, [Dependency(one) for one in needs])
    assert list(packing.start()) == [1]
    assert packing.end(1, True) == []
    assert list(packing.start()) == [2, 3]
    packing.end(3, True)
    assert packing.start() == {}
    packing.end(2, True)
    assert list(packing.start()) == [4]
    assert not packing.is_empty
    packing.end(4, True)
    assert packing.is_empty


@pytest.mark.parametrize("well", [True, False])
def test_kinds_of_dependencies(well: bool) -> None:
    packing = packed(9, 1)
    for job_id, kind in enumerate(["ok", "notok", "any"], 2):
        packing.add(job_id, 1, [Dependency("1", kind)])
    packing.start()
    (hopeless,) = packing.end(1, well)
    assert (hopeless.job_id, hopeless.needed.kind) == ((3, "notok") if well else (2, "ok"))
    assert list(packing.start()) == ([2, 4] if well else [3, 4])


def test_what_is_hopeless_takes_its_dependants_along() -> None:
    """A chain longer than Python's stack; and the end of it repairs."""
    packing = packed(1, 1)
    last = 3000
    for job_id in range(2, last):
        packing.add(job_id, 1, [Dependency(str(job_id - 1)), Dependency("1")])
    packing.add(last, 1, [Dependency(str(last - 1), "notok")])
    packing.start()
    assert sorted(one.job_id for one in packing.end(1, False)) == list(range(2, last))
    assert list(packing.start()) == [last]


def test_dependencies_that_have_ended_before() -> None:
    packing = packed(9)
    assert packing.add(5, 1, [Dependency("1"), Dependency("2", "notok")], {1: True, 2: False}) == []
    (hopeless,) = packing.add(6, 1, [Dependency("1"), Dependency("2")], {1: True, 2: False})
    assert (hopeless.job_id, hopeless.needed) == (6, Dependency("2"))
    assert list(packing.start()) == [5]


def test_a_job_that_is_called_off_holds_nobody_up() -> None:
    packing = packed(2, 1, 2, 1)
    assert list(packing.start()) == [1, 3]
    packing.end(2, False)
    packing.end(1, True)
    packing.end(3, True)
    assert packing.is_empty
    assert packing.start() == {}


# --------------------------------------------------------------------- how well, by a simulated clock


class Work(NamedTuple):
    cores: int
    seconds: float


def makespan(jobs: list[Work], capacity: int) -> float:
    """Run them; the second in which the last one ends.  At no moment are more cores taken than there are."""
    packing = packed(capacity, *(job.cores for job in jobs))
    now, taken = 0.0, 0
    running: list[tuple[float, int, int]] = []
    while True:
        for job_id, cores in packing.start().items():
            taken += cores
            heapq.heappush(running, (now + jobs[job_id - 1].seconds, job_id, cores))
        assert taken <= capacity
        if not running:
            assert packing.is_empty
            return now
        now, job_id, cores = heapq.heappop(running)
        taken -= cores
        packing.end(job_id, True)


_LENGTHS: dict[str, Callable[[random.Random], float]] = {
    "all alike": lambda _source: 1.0,
    "evenly spread": lambda source: source.uniform(0.1, 1.9),
    "many short, few long": lambda source: source.expovariate(1.0),
}


@pytest.mark.parametrize("length", _LENGTHS.values(), ids=_LENGTHS)
def test_500_jobs_are_packed_within_a_tenth_of_what_is_possible(length: Callable[[random.Random], float]) -> None:
    """Possible in any order whatever: no packing is shorter than all work evenly on both cores."""
    for seed in range(20):
        source = random.Random(seed)
        jobs = [Work(source.randint(1, 4), length(source)) for _ in range(500)]
        least = sum(min(2, job.cores) * job.seconds for job in jobs) / 2
        assert makespan(jobs, 2) <= 1.1 * least
