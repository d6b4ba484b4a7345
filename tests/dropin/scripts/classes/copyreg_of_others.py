"""copyreg: how the script wants classes of others, and of its own with slots, to be pickled."""

import copyreg, threading, types
from under_test import Executor


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right


def reduce_slotted(one):
    return Slotted, (one.right, one.left)


def reduce_view(view):
    return memoryview, (bytes(view),)


def reduce_lock(lock):
    return threading.Lock, ()


def reduce_code(module):
    return __import__, (module.__name__,)


copyreg.pickle(Slotted, reduce_slotted)
copyreg.pickle(memoryview, reduce_view)
copyreg.pickle(type(threading.Lock()), reduce_lock)
copyreg.pickle(types.ModuleType, reduce_code)


def view(n):
    return memoryview(bytes(range(n)))


def swap(one):
    return one.left, one


def lock(one):
    return one.acquire(False), threading.Lock()


def module(one):
    return one.sqrt(16), one


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(bytes(ex.submit(view, 4).result()))
        left, back = ex.submit(swap, Slotted(1, 2)).result()
        print(left, back.left, back.right)
        got, other = ex.submit(lock, threading.Lock()).result()
        print(got, other.locked())
        import math

        root, same = ex.submit(module, math).result()
        print(root, same is math)
