# better: a process of ProcessPoolExecutor keeps the function as it was when it was forked
"""A function that is defined anew between two submits, as in a notebook."""

from under_test import Executor


def helper(n):
    return n + 1


def work(n):
    return helper(n)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        assert ex.submit(work, 1).result() == 2

        def helper(n):
            return n + 100

        assert ex.submit(work, 1).result() == 101

        def work(n):
            return helper(n), "new"

        assert ex.submit(work, 1).result() == (101, "new")
        assert list(ex.map(work, [2])) == [(102, "new")]
    print("done")
