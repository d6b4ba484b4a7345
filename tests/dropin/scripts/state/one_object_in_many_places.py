"""An object that is a global and stands in other globals, defaults and classes is one object in calls, too."""

import dataclasses, threading, weakref
from under_test import Executor


class Config:
    def __init__(self, name):
        self.name = name
        self.times = 0


class Loop:
    def __init__(self):
        self.other = None


MISSING = object()
DEFAULTS = {"size": 3, "color": MISSING, "deep": [(MISSING,)]}
default = Config("default")
ALL = [default, Config("other")]
BY_NAME = {"default": default, "nested": {"again": [default]}}
weights = weakref.WeakKeyDictionary({default: 5})
lock = threading.Lock()


class Guarded:
    table = {"missing": MISSING, "config": default}

    def __init__(self):
        self.lock = lock
        self.config = default


guarded = Guarded()


class Entry:
    registry = {}

    def __init__(self, name):
        self.name = name
        Entry.registry[name] = self

    def is_entered(self):
        return self.registry[self.name] is self


entry, second = Entry("a"), Entry("b")
entry.friends = [second]
entries = [second, entry]
one, two = Loop(), Loop()
one.other, two.other = two, one
loops = [one, two]


@dataclasses.dataclass
class Item:
    value: object = MISSING
    tags: list = dataclasses.field(default_factory=lambda: [MISSING])


def by_keyword(x, *, given=MISSING, config=default):
    return given is MISSING, config is default


def by_position(x, given=MISSING, config=default):
    return given is MISSING, config is default


def missing(_):
    nested = DEFAULTS["deep"][0][0] is MISSING
    return DEFAULTS["color"] is MISSING, nested, Item().value is MISSING, Item().tags[0] is MISSING


def shared(_):
    default.times += 1
    same = ALL[0] is default, BY_NAME["default"] is default, BY_NAME["nested"]["again"][0] is default
    return same, ALL[0].times, guarded.config is default, Guarded.table["config"] is default


def weak(_):
    return weights[default], len(weights)


def locked(_):
    with lock:
        return guarded.lock.acquire(blocking=False)


def cyclic(_):
    return one.other.other is one, loops[0].other is loops[1]


def entered(_):
    return entry.is_entered(), entry.friends[0].is_entered(), entry.registry["b"] is second, entries[0] is second


def entered_by_class(_):
    return Entry.registry["a"] is entry, Entry.registry["b"].is_entered(), entries[1].friends[0] is second


def name(_):
    return default.name, ALL[0].name, BY_NAME["nested"]["again"][0].name, guarded.config.name


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for function in (
            entered,
            entered_by_class,
            by_keyword,
            by_position,
            missing,
            shared,
            shared,
            weak,
            locked,
            cyclic,
            name,
        ):
            print(function.__name__, ex.submit(function, 0).result())
    for function in (entered_by_class, entered):
        with Executor(max_workers=1) as ex:
            print(function.__name__, ex.submit(function, 0).result(), ex.submit(entered_by_class, 0).result())
