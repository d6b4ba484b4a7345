"""Protocols, also those that can be checked at run time."""

import typing
from under_test import Executor


@typing.runtime_checkable
class Speaks(typing.Protocol):
    def speak(self) -> str: ...


class Named(typing.Protocol):
    name: str


class Dog:
    name = "rex"

    def speak(self):
        return "wuff"


class Explicit(Named, Speaks):
    name = "e"

    def speak(self):
        return "explicit"


def look(thing):
    return isinstance(thing, Speaks), thing.speak(), thing.name


def wrong(thing):
    return isinstance(thing, Speaks)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(look, Dog()).result(), ex.submit(look, Explicit()).result(), ex.submit(wrong, 3).result())
