"""Abstract classes: instances, registered classes, what cannot be instantiated."""

import abc, collections.abc
from under_test import Executor


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    @property
    @abc.abstractmethod
    def name(self): ...
    def told(self):
        return f"{self.name} {self.area()}"


class Square(Shape):
    name = "square"

    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


class Foreign:
    name = "foreign"


Shape.register(Foreign)


class Bag(collections.abc.MutableMapping):
    def __init__(self, **given):
        self.given = given

    def __getitem__(self, key):
        return self.given[key]

    def __setitem__(self, key, value):
        self.given[key] = value

    def __delitem__(self, key):
        del self.given[key]

    def __iter__(self):
        return iter(self.given)

    def __len__(self):
        return len(self.given)


def told(shape):
    return shape.told(), isinstance(shape, Shape), isinstance(Foreign(), Shape)


def abstract(_):
    try:
        Shape()
    except TypeError as error:
        return "abstract" in str(error)


def fill(bag, **more):
    bag.update(more)
    return bag


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(told, Square(3)).result(), ex.submit(abstract, 0).result())
        bag = ex.submit(fill, Bag(a=1), b=2).result()
        print(dict(bag), isinstance(bag, Bag), isinstance(bag, collections.abc.Mapping))
