# better: a closure has no name that pickle could import
"""A closure with nonlocal state, and one that refers to itself."""

from under_test import Executor


def counter():
    count = 0

    def up():
        nonlocal count
        count += 1
        return count

    return up


def fibonacci():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib


if __name__ == "__main__":
    up = counter()
    up()
    with Executor(max_workers=1) as ex:
        assert ex.submit(up).result() >= 2
        assert up() == 2
        assert ex.submit(fibonacci(), 10).result() == 55
    print("done")
