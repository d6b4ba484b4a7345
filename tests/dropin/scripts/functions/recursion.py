"""Functions that call themselves and each other."""

from under_test import Executor


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def walk(tree):
    return tree[0] + sum(walk(branch) for branch in tree[1:])


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        print(
            list(ex.map(even, range(6))),
            ex.submit(factorial, 20).result(),
            ex.submit(walk, [1, [2, [3]], [4]]).result(),
        )
