"""An argument or a result that cannot be pickled fails its own future; the executor goes on."""

import sys, threading
from under_test import Executor


def give_frame():
    return sys._getframe()


def same(thing):
    return thing


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(same, sys._getframe()).exception() is not None, ex.submit(give_frame).exception() is not None)
        print(ex.submit(same, 4).result())
