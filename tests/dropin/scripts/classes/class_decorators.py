"""Classes that a decorator registers, changes or replaces."""

from under_test import Executor

REGISTRY = {}


def register(name):
    def add(cls):
        REGISTRY[name] = cls
        cls.registered = name
        return cls

    return add


def with_repr(cls):
    cls.__repr__ = lambda self: f"<{cls.__name__} {vars(self)}>"
    return cls


@register("one")
class One:
    def run(self, n):
        return n + 1


@register("two")
@with_repr
class Two:
    def __init__(self):
        self.n = 2

    def run(self, n):
        return n + self.n


def run(name, n):
    return REGISTRY[name]().run(n), REGISTRY[name].registered


def make(name):
    return REGISTRY[name]()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(run, "one", 1).result(), ex.submit(run, "two", 1).result())
        two = ex.submit(make, "two").result()
        print(two, type(two) is Two, type(ex.submit(make, "one").result()) is One)
