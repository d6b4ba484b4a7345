"""``retries=``: what is read, what pays for another attempt, and what the dispatcher then does."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from test_dispatcher_moves import Bench, error_of

from clusterfutures.errors import OptionError, WorkerDied
from clusterfutures.options.retries import FREE, KILLED, MOST_FREE, Attempt, Failure, Retries, read, told
from clusterfutures.store import records
from clusterfutures.store.names import Claimed
from clusterfutures.store.records import Record

ALL = {"oom": {"memory": "x2", "max": 2}, "timeout": {"time": "x1.5"}, "crash": 1, "exception": 0, "lost": 1}
RESOURCES = {"memory": 1000, "time": 61}


def policy(value: Any = 1) -> Retries:
    found = read(value, RESOURCES)
    assert found is not None
    return found


# -- what is read, and what pays --------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, {}, {"crash": 0}])
def test_no_retries(value: Any) -> None:
    assert read(value, {}) is None


@pytest.mark.parametrize("cause", ["oom", "timeout", "crash", "lost", KILLED])
def test_a_number_is_for_all_causes_together(cause: str) -> None:
    retries = policy("2")
    assert retries.charge([], cause)
    assert retries.charge([Attempt("timeout", "")], cause)
    assert retries.charge([Attempt("timeout", ""), Attempt("crash", "")], cause) is None


def test_a_number_is_not_for_exceptions() -> None:
    assert policy(5).charge([], "exception") is None
    assert policy({"exception": 1}).charge([], "exception") == "exception"


def test_each_cause_by_itself() -> None:
    retries, history = policy(ALL), [Attempt("oom", ""), Attempt("crash", "")]
    assert retries.charge(history, "oom") == "oom"
    assert retries.charge([*history, Attempt("oom", "")], "oom") is None
    assert retries.charge(history, "crash") is None
    assert retries.charge(history, "timeout") == "timeout"
    assert retries.charge(history, "exception") is None
    assert policy({"crash": 1}).charge([], KILLED) == "crash"


def test_what_costs_nothing_has_an_end_all_the_same() -> None:
    history = [Attempt(FREE, "")] * (MOST_FREE - 1)
    assert policy(1).charge(history, FREE) == FREE
    assert policy(1).charge(history, "crash") == "crash"
    assert policy(1).charge([*history, Attempt(FREE, "")], FREE) is None


def test_resources_grow_with_each_attempt() -> None:
    retries = policy(ALL | {"lost": {"partition": "long", "mem": "3GB"}})
    assert retries.resources([]) == RESOURCES
    assert retries.resources([Attempt("oom", ""), Attempt(FREE, ""), Attempt("oom", "")])["memory"] == 4000
    assert retries.resources([Attempt("timeout", "")])["time"] == 92
    assert retries.resources([Attempt("lost", "")]) == {"memory": 3072, "time": 61, "partition": "long"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (-1, "whole number"), (True, "whole number"), (1.5, "whole number"), ("many", "whole number"),
        ({"omm": 1}, "no cause 'omm'"), ({"oom": {"max": -1}}, "oom: max"), ({"oom": {"memori": "x2"}}, "'memori'"),
        ({"oom": {"memory": "x0.5"}}, "1 to 1000"), ({"oom": {"memory": "double"}}, "neither a multiple"),
        ({"oom": {"partition": "x2"}}, "cannot be multiplied"), ({"timeout": {"cores": "x2"}}, "ask for no cores="),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told(value: Any, why: str) -> None:
    with pytest.raises(OptionError, match=why) as caught:
        read(value, RESOURCES)
    assert "retries=" in str(caught.value)


def test_an_error_keeps_what_was_tried_through_a_pickle() -> None:
    text = told([Attempt("oom", "job 7 OUT_OF_MEMORY"), Attempt(FREE, "job 8 PREEMPTED")])
    error = WorkerDied(call="f", signal="SIGSEGV").with_attempts(text)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is WorkerDied
    assert str(again) == str(error)
    assert "tried 3 times" in str(again)
    assert "(1) job 7 OUT_OF_MEMORY; (2) job 8 PREEMPTED" in str(again)


# -- the dispatcher ---------------------------------------------------------------------------

LOST = Failure("lost", "job 1 FAILED")


def bench_with(retries: Retries, chunk: int = 0, count: int = 1) -> tuple[Bench, list[Any]]:
    bench = Bench(max_workers=2)
    bench.site.worker_group_for = lambda _resources: "0"  # type: ignore[attr-defined]
    works: list[Any] = [bench.submit_chunk(chunk)] if chunk else bench.submit(count)
    for work in works:
        work.retries = retries
    bench.dispatcher.advance(1.0)
    return bench, works


def died(bin_id: int, first: int, signal: str = "SIGSEGV") -> Record:
    body = pickle.dumps({"signal": signal, "exit_code": None})
    return Record(records.DIED, 0, bin_id, first, 1, memoryview(body))


def test_a_lost_call_runs_again_and_then_fails() -> None:
    bench, (call,) = bench_with(policy(1))
    for attempt in (1, 2):
        (worker,) = bench.hire(1)
        bench.begin(worker)
        bench.dispatcher.lost(worker, [], error_of, LOST)
        assert bool(call.outcomes) == (attempt == 2)
        bench.dispatcher.advance(2.0)
    assert [type(error) for error in call.results] == [RuntimeError]
    assert bench.dispatcher.unsettled == 0
    assert not bench.queue


def test_without_a_reason_it_does_not_run_again() -> None:
    bench, (call,) = bench_with(policy(1))
    (worker,) = bench.hire(1)
    bench.begin(worker)
    bench.dispatcher.lost(worker, [], error_of)
    assert len(call.outcomes) == 1


def test_what_a_lost_job_says_later_does_not_count() -> None:
    bench, (call,) = bench_with(policy(1))
    old, new = bench.hire(2)
    bin_id = bench.begin(old)
    bench.dispatcher.lost(old, [], error_of, LOST)
    bench.settle(old, bin_id)
    assert not call.outcomes
    bench.dispatcher.advance(2.0)
    bench.settle(new, bench.begin(new))
    assert call.results == ["value"]
    assert bench.dispatcher.unsettled == 0


def test_a_crash_in_a_chunk_runs_that_call_again_and_no_other() -> None:
    bench, (chunk,) = bench_with(policy(1), chunk=4)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker)
    bench.settle(worker, bin_id)
    bench.dispatcher.outcome(worker, died(bin_id, 1))
    assert [name.partition(".")[2] for name in bench.queue] == ["1-2"]
    bench.settle(worker, bin_id, 2, 2)
    again = bench.begin(worker, 1)
    assert again != bin_id
    bench.settle(worker, again, 1)
    assert sorted(chunk.outcomes) == [(index, "value") for index in range(4)]
    assert bench.dispatcher.unsettled == 0
    assert worker.busy == 0


def test_of_a_lost_chunk_what_had_not_begun_costs_nothing() -> None:
    bench, (chunk,) = bench_with(policy(1), chunk=3)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker)
    bench.dispatcher.lost(worker, [Claimed(bin_id, 0, 3, 0)], error_of, LOST)
    assert sorted(name.partition(".")[2] for name in bench.queue) == ["0-1", "1-3"]
    assert {index for index in range(3) if chunk.history(index)} == {0}
    assert bench.dispatcher.unsettled == 3


def test_a_call_that_waits_to_run_again_can_be_cancelled() -> None:
    bench, (call,) = bench_with(policy(1))
    (worker,) = bench.hire(1)
    call.future.begin()
    bench.begin(worker)
    bench.dispatcher.lost(worker, [], error_of, LOST)
    assert not call.future.running()
    assert bench.take_back(call)
    bench.read_events()
    bench.dispatcher.advance(2.0)
    assert bench.dispatcher.unsettled == 0
    assert not bench.queue


def test_after_a_cancel_of_everything_nothing_runs_again() -> None:
    bench, (call,) = bench_with(policy(1))
    (worker,) = bench.hire(1)
    bench.dispatcher.reruns.allowed = False
    bench.dispatcher.outcome(worker, died(bench.begin(worker), 0))
    assert call.results == ["value"], "what the record says is passed on"
