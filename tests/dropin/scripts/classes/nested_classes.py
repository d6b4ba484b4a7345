"""A class within a class."""

from under_test import Executor


class Outer:
    class Inner:
        class Core:
            def __init__(self, n):
                self.n = n

        def __init__(self, n):
            self.core = Outer.Inner.Core(n)

        def get(self):
            return self.core.n

    def make(self, n):
        return self.Inner(n)


def inner(n):
    return Outer.Inner(n)


def add(one):
    one.core.n += 1
    return one


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        one = ex.submit(inner, 3).result()
        print(
            type(one) is Outer.Inner, type(one.core) is Outer.Inner.Core, one.get(), ex.submit(add, one).result().get()
        )
        print(ex.submit(Outer().make, 5).result().get(), ex.submit(Outer.Inner.Core, 6).result().n)
