"""as_completed over a dictionary of futures."""

from concurrent.futures import as_completed
from under_test import Executor


def work(n):
    return n * n


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        futures = {ex.submit(work, n): n for n in range(6)}
        print(sorted((futures[f], f.result()) for f in as_completed(futures)))
        print(sorted(f.result() for f in as_completed([ex.submit(work, 2)] * 2, timeout=60)))
