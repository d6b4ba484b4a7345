"""An executor inside a call."""

from under_test import Executor


def leaf(n):
    return n * 2


def middle(n):
    with Executor(max_workers=1) as ex:
        return sum(ex.map(leaf, range(n)))


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(middle, 4).result())
