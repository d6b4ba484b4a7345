"""A metaclass with keywords, a registry in it, and a class made by calling it."""

from under_test import Executor


class Meta(type):
    registry = {}

    def __new__(mcls, name, bases, namespace, tag="", **more):
        cls = super().__new__(mcls, name, bases, namespace)
        cls.tag = tag
        mcls.registry[name] = cls
        return cls

    def __init__(cls, name, bases, namespace, **more):
        super().__init__(name, bases, namespace)

    def __len__(cls):
        return len(cls.tag)

    def __call__(cls, *args):
        made = super().__call__(*args)
        made.marked = True
        return made


class Base(metaclass=Meta, tag="base"):
    def __init__(self, n=0):
        self.n = n


class Child(Base, tag="child"):
    pass


Made = Meta("Made", (Base,), {"extra": 1}, tag="made")


def look(cls):
    return cls.tag, len(cls), cls(3).marked, sorted(Meta.registry), Meta.registry[cls.__name__] is cls


def give(n):
    return Child(n), Made(n)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(look, Child).result(), ex.submit(look, Made).result())
        child, made = ex.submit(give, 4).result()
        print(type(child) is Child, child.n, child.marked, type(made) is Made, made.extra)
