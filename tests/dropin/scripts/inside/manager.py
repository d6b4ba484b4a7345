# only: local
# differs: a manager listens on a socket of its own machine, with a key that does not travel
"""A Manager's dictionary as an argument."""

import multiprocessing
from under_test import Executor


def put(shared, n):
    shared[n] = n * n


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        with Executor(max_workers=2) as ex:
            list(ex.map(put, [shared] * 3, range(3)))
        print(sorted(shared.items()))
