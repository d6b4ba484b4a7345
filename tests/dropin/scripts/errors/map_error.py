"""map: results before the one that raised are yielded, then it raises; the rest is cancelled."""

from under_test import Executor


def invert(n):
    return 6 // n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        got = []
        try:
            for value in ex.map(invert, [1, 2, 0, 3], chunksize=1):
                got.append(value)
        except ZeroDivisionError as error:
            print(got, error)
        try:
            list(ex.map(invert, [0, 1], [1]))
        except TypeError as error:
            print("TypeError", "invert" in str(error))
