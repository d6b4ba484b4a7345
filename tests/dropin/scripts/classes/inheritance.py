"""super(), mixins, several bases, class methods that make instances, static methods."""

from under_test import Executor


class Base:
    made = 0

    def __init__(self, **given):
        self.given = given

    @classmethod
    def make(cls, **given):
        cls.made += 1
        return cls(**given)

    @staticmethod
    def helper(n):
        return n + 1

    def told(self):
        return ["base"]


class Loud:
    def told(self):
        return [*super().told(), "loud"]


class Quiet:
    def told(self):
        return [*super().told(), "quiet"]


class Both(Loud, Quiet, Base):
    def told(self):
        return [*super().told(), "both"]


def told(thing):
    return thing.told(), [c.__name__ for c in type(thing).__mro__]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(told, Both(a=1)).result(), ex.submit(Both.helper, 1).result())
        made = ex.submit(Both.make, b=2).result()
        print(
            type(made) is Both,
            made.given,
            Base.made,
            ex.submit(Both(c=1).told).result(),
            ex.submit(Base.told, made).result(),
        )
