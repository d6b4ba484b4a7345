"""mp_context= by position and keyword."""

import multiprocessing
from under_test import Executor


def work(n):
    return n + 1


if __name__ == "__main__":
    with Executor(1, multiprocessing.get_context("spawn")) as ex:
        print(ex.submit(work, 1).result())
    with Executor(max_workers=1, mp_context=multiprocessing.get_context("fork"), initializer=None, initargs=()) as ex:
        print(ex.submit(work, 2).result())
    with Executor(1, None, work, (3,)) as ex:
        print(ex.submit(work, 3).result())
