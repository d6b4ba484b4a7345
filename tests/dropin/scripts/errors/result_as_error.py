"""Exceptions as arguments and results, not raised; tracebacks as text in results."""

import traceback
from under_test import Executor


class Own(Exception):
    pass


def safe(n):
    try:
        return 1 / n
    except Exception as error:
        return error


def text(n):
    try:
        raise Own(n)
    except Own:
        return traceback.format_exc().splitlines()[-1]


def reraise(error):
    raise error


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(safe, 0).result(), ex.submit(safe, 1).result(), ex.submit(text, 3).result())
        print(repr(ex.submit(reraise, Own(5)).exception()), isinstance(ex.submit(reraise, Own(5)).exception(), Own))
