"""Sentinels: a default that is compared by identity, one that reduces to its name, a singleton."""

from under_test import Executor

MISSING = object()


class _Empty:
    def __reduce__(self):
        return "EMPTY"

    def __repr__(self):
        return "EMPTY"


EMPTY = _Empty()


class Single:
    one = None

    def __new__(cls):
        if cls.one is None:
            cls.one = super().__new__(cls)
        return cls.one


def default(value=MISSING):
    return value is MISSING


def keyword(*, value=EMPTY):
    return value is EMPTY


def passed(value):
    return value is EMPTY


def give():
    return EMPTY


def single():
    return Single() is Single()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(default).result(), ex.submit(default, 1).result(), ex.submit(keyword).result())
        print(ex.submit(passed, EMPTY).result(), ex.submit(give).result() is EMPTY, ex.submit(single).result())
        print([x is EMPTY for x in ex.submit(sorted, [[EMPTY]]).result()[0]])
