"""Subclasses of dict, list, str, int, set, defaultdict, with attributes of their own."""

import collections
from under_test import Executor


class Record(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Items(list):
    label = ""


class Name(str):
    def shout(self):
        return Name(self.upper() + "!")


class Metres(int):
    def __add__(self, other):
        return Metres(int(self) + int(other))


class Names(set):
    pass


class Counts(collections.defaultdict):
    def __init__(self, *args):
        super().__init__(int, *args)

    def __reduce__(self):
        return Counts, (dict(self),)


def change(record, items):
    record.more = 1
    record["b"] = 2
    items.append(3)
    return record, items


def make():
    return (
        Name("a").shout(),
        Metres(2) + 3,
        Names([1]),
        Counts({"x": 1}),
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
    )


if __name__ == "__main__":
    items = Items([1])
    items.label = "label"
    with Executor(max_workers=1) as ex:
        record, back = ex.submit(change, Record(a=1), items).result()
        print(record, record.a, record.__dict__, type(record) is Record, back, back.label, type(back) is Items)
        made = ex.submit(make).result()
        print(made, [type(x).__name__ for x in made], made[0].shout(), made[3]["new"])
