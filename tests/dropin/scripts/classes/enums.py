"""Enumerations of all kinds: identity holds when they come back."""

import enum
from under_test import Executor


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"
    CRIMSON = 1

    def shout(self):
        return self.name + "!"


class Level(enum.IntEnum):
    LOW = enum.auto()
    HIGH = enum.auto()


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Word(enum.StrEnum):
    YES = enum.auto()


@enum.unique
class WithData(enum.Enum):
    A = (1, "one")

    def __init__(self, number, text):
        self.number = number
        self.text = text


def same(thing):
    return thing


def check(colour, level, access):
    return colour is Colour.RED, colour.shout(), level > Level.LOW, Access.READ in access


def make(_):
    return {Colour.BLUE: [Level.HIGH, Word.YES], "data": WithData.A}


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for thing in (Colour.RED, Colour.CRIMSON, Level.HIGH, Access.READ, Word.YES, WithData.A):
            print(ex.submit(same, thing).result() is thing, end=" ")
        print(ex.submit(same, Access.READ | Access.WRITE).result() == Access.READ | Access.WRITE)
        print(ex.submit(check, Colour.RED, Level.HIGH, Access.READ | Access.WRITE).result())
        made = ex.submit(make, 0).result()
        print(made[Colour.BLUE][0] is Level.HIGH, made["data"] is WithData.A, made["data"].text, made)
