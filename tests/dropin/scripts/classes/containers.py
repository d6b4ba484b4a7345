"""Instances deep in containers come back as instances of the program's classes; shared ones stay shared."""

from under_test import Executor


class Item:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Item) and self.n == other.n

    def __hash__(self):
        return hash(self.n)


def nest(n):
    one = Item(n)
    return {"list": [one, one], one: (Item(2), {Item(3)}), "deep": [[[{"x": one}]]]}


def loop():
    one = Item(1)
    one.self = one
    return one


def classes():
    return [Item, int, dict]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        back = ex.submit(nest, 1).result()
        print(back == nest(1), back["list"][0] is back["list"][1], type(back["deep"][0][0][0]["x"]) is Item)
        one = ex.submit(loop).result()
        print(one.self is one, isinstance(one, Item), ex.submit(classes).result()[0] is Item)
        print(
            list(ex.map(Item, range(3))) == [Item(n) for n in range(3)],
            {Item(1), ex.submit(Item, 1).result()} == {Item(1)},
        )
