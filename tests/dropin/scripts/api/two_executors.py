"""Two executors at once, and one after the other."""

from under_test import Executor

calls = []


def work(n):
    calls.append(n)
    return len(calls)


if __name__ == "__main__":
    with Executor(max_workers=1) as first, Executor(max_workers=1) as second:
        print(first.submit(work, 1).result(), second.submit(work, 1).result(), first.submit(work, 1).result())
    with Executor(max_workers=1) as third:
        print(third.submit(work, 1).result())
