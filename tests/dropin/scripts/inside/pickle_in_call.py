"""pickle, copy and shelve of the script's objects inside a call."""

import collections, copy, dataclasses, enum, io, pickle, shelve
from under_test import Executor


@dataclasses.dataclass
class State:
    step: int


class Mode(enum.Enum):
    FAST = 1


Pair = collections.namedtuple("Pair", "a b")


def helper(n):
    return n + 1


def save(path):
    with open(path, "wb") as file:
        pickle.dump([State(3), Mode.FAST, Pair(1, 2), helper], file)


def load(path):
    with open(path, "rb") as file:
        state, mode, pair, f = pickle.load(file)
    return state == State(3), mode is Mode.FAST, pair == Pair(1, 2), f(1)


def only_load(path):
    with open(path, "rb") as file:
        return len(pickle.load(file))


def copies(state):
    return copy.deepcopy(state) == state, copy.copy(Mode.FAST) is Mode.FAST, pickle.loads(pickle.dumps(State)) is State


def shelf(name):
    with shelve.open(name) as db:
        db["x"] = State(1)
    with shelve.open(name) as db:
        return db["x"]


if __name__ == "__main__":
    save("here")
    with Executor(max_workers=1) as ex:
        print(ex.submit(only_load, "here").result(), ex.submit(load, "here").result())
        ex.submit(save, "there").result()
        print(ex.submit(load, "there").result(), ex.submit(copies, State(2)).result(), ex.submit(shelf, "db").result())
    print(load("there"))
