"""Functions with attributes, docstrings, annotations, signatures."""

import inspect
from under_test import Executor


def count(n: int = 1) -> int:
    """Count."""
    count.total += n
    return count.total


count.total = 10


def about():
    return (
        count.__doc__,
        count.__annotations__ == {"n": int, "return": int},
        str(inspect.signature(count)),
        count.__module__,
        count.__qualname__,
    )


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print([ex.submit(count, n).result() for n in range(3)], count.total, ex.submit(about).result())
