"""__reduce__, __getstate__, __getnewargs__, copyreg: the script's own ways to be pickled."""

import copyreg
from under_test import Executor


class Reduced:
    def __init__(self, n):
        self.n = n

    def __reduce__(self):
        return (Reduced, (self.n + 1,))


class Stated:
    def __init__(self, n):
        self.n = n
        self.handle = print

    def __getstate__(self):
        state = dict(self.__dict__)
        del state["handle"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.handle = None


class New:
    def __new__(cls, n):
        self = super().__new__(cls)
        self.n = n
        return self

    def __getnewargs__(self):
        return (self.n,)


class Registered:
    def __init__(self, n):
        self.n = n


def reduce_registered(one):
    return Registered, (one.n * 10,)


copyreg.pickle(Registered, reduce_registered)


def numbers(things):
    return [thing.n for thing in things], things[1].handle


def same(thing):
    return thing


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(numbers, [Reduced(1), Stated(1), New(1), Registered(1)]).result())
        print(
            ex.submit(same, Reduced(1)).result().n,
            ex.submit(same, New(4)).result().n,
            ex.submit(same, Registered(2)).result().n,
        )
