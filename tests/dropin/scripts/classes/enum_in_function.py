"""A call compares with members that its function names, not with its argument."""

import enum
from under_test import Executor


class State(enum.Enum):
    NEW = 0
    DONE = 1


TABLE = {State.NEW: "begin", State.DONE: "end"}


def step(state):
    return (State.DONE if state is State.NEW else State.NEW), TABLE[state]


def all_states():
    return list(State)


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        print(list(ex.map(step, [State.NEW, State.DONE] * 2)), ex.submit(all_states).result() == list(State))
        print([s is State.DONE for s, _ in ex.map(step, [State.NEW, State.DONE])])
