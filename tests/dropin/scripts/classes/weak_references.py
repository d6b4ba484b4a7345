"""Weak references and weak dictionaries in the script's globals and objects."""

import weakref
from under_test import Executor


class Thing:
    def __init__(self, n):
        self.n = n


class Owner:
    def __init__(self, child):
        self.child = child
        self._parent = None

    def __getstate__(self):
        return {"child": self.child}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._parent = None


CACHE = weakref.WeakValueDictionary()
KEYED = weakref.WeakKeyDictionary()
SET = weakref.WeakSet()


def cached(n):
    thing = CACHE.get(n)
    if thing is None:
        thing = CACHE[n] = Thing(n)
    KEYED[thing] = n
    SET.add(thing)
    return len(CACHE), len(KEYED), len(SET), weakref.ref(thing)() is thing


def owned(owner):
    return owner.child.n, owner._parent


if __name__ == "__main__":
    owner = Owner(Thing(4))
    owner._parent = weakref.ref(owner)
    with Executor(max_workers=1) as ex:
        print(ex.submit(cached, 1).result(), ex.submit(cached, 2).result(), ex.submit(owned, owner).result())
