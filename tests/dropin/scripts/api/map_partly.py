"""map: only part of the results is taken; the input is exhausted at once."""

from under_test import Executor

taken = []


def numbers():
    for n in range(5):
        taken.append(n)
        yield n


def same(n):
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        results = ex.map(same, numbers())
        print(taken, next(results))
        del results
    print("left")
