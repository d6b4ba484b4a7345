"""The usual lazy cache: the first call makes it, later calls find it, another function too."""

from under_test import Executor

_connection = None
_made = []
_cache = {}


def connection():
    global _connection
    if _connection is None:
        _connection = object()
        _made.append(1)
    return _connection


def query(n):
    connection()
    return len(_made)


def other(n):
    return _connection is not None, len(_made)


def cached(n):
    if n not in _cache:
        _cache[n] = n * n
    return _cache[n], len(_cache)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print([ex.submit(query, n).result() for n in range(3)], ex.submit(other, 0).result())
        print([ex.submit(cached, n).result() for n in (1, 2, 1)], list(ex.map(cached, [3, 1])))
