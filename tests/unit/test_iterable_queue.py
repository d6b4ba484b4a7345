"""IterableQueue: ends by itself, whoever stops early or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from clusterfutures import Arguments, IterableQueue
from clusterfutures.cluf.iterable_queue import (
    ConsumerQueue,
    ConsumerQueueClosedException,
    Done,
    Empty,
    Full,
    ProducerQueue,
    ProducerQueueClosedException,
)
from clusterfutures.cluf.iterable_queue import IterableQueueIllegalStateException as IllegalState
from clusterfutures.cluf.queue_database import _now

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

fork = get_context("fork")


def produce(queue: ProducerQueue, number: int) -> None:
    for _ in range(10):
        queue.put(number)
    queue.close()


def consume(queue: ConsumerQueue, found: ProducerQueue) -> None:
    for item in queue:
        found.put(item)
    found.close()


def put_and_die(queue: ProducerQueue) -> None:
    queue.put("last words")
    os.kill(os.getpid(), signal.SIGKILL)


def die(queue: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_example_of_the_page(method: str) -> None:
    context = get_context(method)
    many = 17 if method == "fork" else 2
    iq, results = IterableQueue(), IterableQueue()
    processes = [context.Process(target=produce, args=(iq.get_producer(), n)) for n in range(many)]
    processes += [context.Process(target=consume, args=(iq.get_consumer(), results.get_producer())) for _ in range(3)]
    mine = results.get_consumer()
    for process in processes:
        process.start()
    iq.close()
    results.close()
    assert sorted(mine) == sorted(n for n in range(many) for _ in range(10))
    for process in processes:
        process.join()


@pytest.mark.parametrize(("victim", "left"), [(put_and_die, ["last words"]), (die, [])])
def test_a_producer_that_dies_is_counted_out(victim: object, left: list[str]) -> None:
    iq = IterableQueue()
    process = fork.Process(target=victim, args=(iq.get_producer(),))  # type: ignore[arg-type]
    process.start()
    consumer = iq.get_consumer()
    iq.close()
    assert list(consumer) == left
    process.join()


def test_a_child_from_before_the_queue_is_nobody_to_wait_for() -> None:
    unrelated = fork.Process(target=signal.pause)
    unrelated.start()
    wait_for_another_tick()
    try:
        iq = IterableQueue()
        process = fork.Process(target=die, args=(iq.get_producer(),))
        process.start()
        consumer = iq.get_consumer()
        iq.close()
        with pytest.raises(Done):
            consumer.get(timeout=60)
        process.join()
    finally:
        unrelated.kill()
        unrelated.join()


def wait_for_another_tick() -> None:
    """The kernel tells the age of processes in hundredths of a second."""
    began = _now()
    while _now() <= began + 1:
        pass


class SlowToArrive:
    """Keeps the process that it is an argument of from looking at the arguments behind it."""

    def __reduce__(self) -> object:
        return time.sleep, (0.5,)


def produce_late(_: None, queue: ProducerQueue) -> None:
    produce(queue, 1)


def test_a_child_of_a_fork_server_is_waited_for_while_it_starts() -> None:
    context = get_context("forkserver")
    first = context.Process(target=os.getpid)  # so that the server is older than the endpoint
    first.start()
    first.join()
    wait_for_another_tick()
    iq = IterableQueue()
    process = context.Process(target=produce_late, args=(SlowToArrive(), iq.get_producer()))
    process.start()
    consumer = iq.get_consumer()
    iq.close()
    assert list(consumer) == [1] * 10
    process.join()


def test_an_endpoint_waits_for_its_turn_in_a_pool_that_is_older(tmp_path: Path) -> None:
    with fork.Pool(2) as pool:
        wait_for_another_tick()
        iq = IterableQueue()
        busy = pool.apply_async(_until_it_is_there, (tmp_path / "go on",))
        found = pool.apply_async(list, (iq.get_consumer(),))
        done = pool.apply_async(produce, (iq.get_producer(), 1))
        iq.close()
        found.wait(0.3)  # it looks for the dead meanwhile
        (tmp_path / "go on").touch()
        for answer in (busy, done):
            answer.get(20)
        assert found.get(20) == [1] * 10


def _until_it_is_there(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


def test_children_that_are_forked_while_other_threads_use_queues() -> None:
    """SQLite's locks are nobody's in a child whose parent was in the middle of something."""
    for _ in range(10):
        iq, stop = IterableQueue(), threading.Event()

        def keep_putting(queue: ProducerQueue, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                queue.put(1)
            queue.close()

        threads = [threading.Thread(target=keep_putting, args=(iq.get_producer(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        process = fork.Process(target=list, args=(iq.get_consumer(),))
        process.start()
        iq.close()
        stop.set()
        process.join(100)
        ended = process.exitcode
        process.kill()
        for one in (process, *threads):
            one.join()
        assert ended == 0


def test_producers_do_not_wait_for_dead_consumers() -> None:
    iq = IterableQueue(maxsize=1)
    producer = iq.get_producer()
    process = fork.Process(target=die, args=(iq.get_consumer(),))
    process.start()
    iq.close()
    for number in range(5):
        producer.put(number)
    process.join()


def test_a_consumer_that_closes_early_leaves_the_rest_to_others() -> None:
    iq = IterableQueue()
    producer, first, second = iq.get_producer(), iq.get_consumer(), iq.get_consumer()
    iq.close()
    produce(producer, 1)
    assert next(first) == 1
    first.close()
    first.close()
    with pytest.raises(ConsumerQueueClosedException):
        first.get()
    assert list(second) == [1] * 9
    with pytest.raises(Done):
        second.get()
    with pytest.raises(ConsumerQueueClosedException):  # as older programs expect it
        second.get()
    with pytest.raises(StopIteration):
        second.next()


def test_the_rest_of_the_interface() -> None:
    iq = IterableQueue(maxsize=1)
    producer, consumer = iq.get_producer(), iq.get_consumer()
    with pytest.raises(Empty):
        consumer.get_nowait()
    with pytest.raises(Empty):
        consumer.next(timeout=0.01)
    producer.put_nowait(1)
    assert producer.full()
    assert consumer.qsize() == 1
    assert not consumer.empty()
    with pytest.raises(Full):
        producer.put(2, timeout=0.01)
    with pytest.raises(NotImplementedError):
        producer.get()
    with pytest.raises(NotImplementedError):
        consumer.put(1)
    producer.close()
    with pytest.raises(ProducerQueueClosedException):
        producer.put(3)
    iq.close()
    with pytest.raises(IllegalState):
        iq.get_producer()


def test_arguments_are_called_as_they_were_written() -> None:
    arguments = Arguments(0, *[1, 2, 3], four=4, five=5, six=6)
    assert repr(arguments) == "Arguments(0, 1, 2, 3, four=4, five=5, six=6)"
    assert str(Arguments(1, a=2)) == "(1, a=2)"
    assert (arguments[3], arguments["six"]) == (3, 6)
    assert 4 not in arguments
    assert "four" in arguments
    with pytest.raises(KeyError):
        arguments["seven"]
    assert arguments.call(lambda *a, **k: (a, k)) == ((0, 1, 2, 3), {"four": 4, "five": 5, "six": 6})


def test_what_is_dropped_is_closed() -> None:
    """From Python 3.13 on a connection that is left open warns when it is dropped."""
    text = "import clusterfutures as cf, threading\niq = cf.IterableQueue(); ends = [iq.get_producer()]\n"
    text += "t = threading.Thread(target=ends.append, args=(iq.get_consumer(),)); t.start(); t.join()\n"
    text += "ends.clear(); del iq, t\nimport gc; gc.collect()\n"
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
