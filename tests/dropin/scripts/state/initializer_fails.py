"""An initializer that raises breaks the executor."""

from concurrent.futures import BrokenExecutor
from under_test import Executor


def fail():
    raise ValueError("no model")


def work(n):
    return n


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=fail) as ex:
        future = ex.submit(work, 1)
        try:
            future.result()
        except BrokenExecutor:
            print("broken")
        try:
            ex.submit(work, 2).result()
        except BrokenExecutor:
            print("still broken")
