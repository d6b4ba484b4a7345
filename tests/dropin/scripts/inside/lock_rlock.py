"""multiprocessing.RLock: reentrant, owned."""

import multiprocessing
from under_test import Executor

lock = None


def prepare(given):
    global lock
    lock = given


def nested():
    with lock:
        with lock:
            return lock.acquire(block=False), lock.release() is None


def foreign():
    try:
        lock.release()
    except AssertionError:
        return "AssertionError"


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=prepare, initargs=(multiprocessing.RLock(),)) as ex:
        print(ex.submit(nested).result(), ex.submit(foreign).result())
