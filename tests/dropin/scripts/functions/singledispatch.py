"""singledispatch and singledispatchmethod, with the script's classes."""

import functools
from under_test import Executor


class Cat:
    pass


@functools.singledispatch
def told(thing):
    return "thing"


@told.register
def _(thing: int):
    return "int"


@told.register(list)
def of_list(thing):
    return [told(item) for item in thing]


@told.register
def _(thing: Cat):
    return "cat"


class Teller:
    @functools.singledispatchmethod
    def tell(self, thing):
        return "?"

    @tell.register
    def _(self, thing: str):
        return "str"

    @tell.register
    def _(self, thing: Cat):
        return "cat"


def many(things):
    return [told(thing) for thing in things]


def tell(thing):
    return Teller().tell(thing)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(told, 3).result(),
            ex.submit(told, [1, "a", Cat()]).result(),
            ex.submit(many, [Cat(), 2.0]).result(),
        )
        print(ex.submit(tell, "x").result(), ex.submit(tell, Cat()).result(), ex.submit(tell, 1).result())
