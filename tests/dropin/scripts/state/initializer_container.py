"""An initializer fills global containers, class attributes and a module-level object."""

import types
from under_test import Executor

state, seen, space = {}, [], types.SimpleNamespace()


class Model:
    weights = None

    def __init__(self, w):
        type(self).weights = w

    @classmethod
    def predict(cls, n):
        return cls.weights * n


def load(w):
    state["w"] = w
    seen.append(w)
    space.w = w
    Model(w)


def look(n):
    return state.get("w"), len(seen), getattr(space, "w", None), Model.predict(n)


def other(n):
    return Model.weights + n, sorted(state)


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=load, initargs=(3,)) as ex:
        print(
            ex.submit(look, 2).result(),
            ex.submit(other, 1).result(),
            ex.submit(Model.predict, 5).result(),
            list(ex.map(look, range(2))),
        )
    print(state, seen, Model.weights)
