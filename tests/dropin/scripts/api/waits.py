"""wait: all, first completed, first exception, timeouts."""

import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, wait
from under_test import Executor


def work(n):
    return n


def fail(n):
    raise ValueError(n)


def slow(n):
    time.sleep(n)
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        done, waiting = wait([ex.submit(work, n) for n in range(3)], return_when=ALL_COMPLETED)
        print(sorted(f.result() for f in done), waiting)
        first, second = ex.submit(work, 1), ex.submit(slow, 1.5)
        done, waiting = wait([first, second], return_when=FIRST_COMPLETED)
        print(done == {first}, waiting == {second})
        bad = ex.submit(fail, 1)
        last = ex.submit(slow, 1.5)
        done, waiting = wait([bad, last], return_when=FIRST_EXCEPTION)
        print(bad in done, last in waiting)
        done, waiting = wait([last], timeout=0.01)
        print(len(done), len(waiting))
