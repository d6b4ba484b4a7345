"""map: several iterables, uneven ones, chunks, empty, generators as input, laziness of the output."""

from under_test import Executor


def add(a, b=0):
    return a + b


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        print(list(ex.map(add, range(5), range(3))), list(ex.map(add, [])), list(ex.map(add, range(7), chunksize=3)))
        print(
            list(ex.map(add, (n for n in range(3)), chunksize=100)),
            list(ex.map(add, {1: 2}, {3})),
            list(ex.map(add, "ab", "cd")),
        )
        results = ex.map(add, range(3))
        print(next(results), next(results), list(results), next(results, "end"))
        for bad in (0, -1):
            try:
                ex.map(add, [1], chunksize=bad)
            except ValueError as error:
                print(error)
        print(dict(zip("abc", ex.map(add, [1, 2, 3]))), sum(ex.map(add, range(1000), chunksize=100)))
