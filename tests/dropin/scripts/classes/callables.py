"""Instances that are callable, with state."""

from under_test import Executor


class Scale:
    def __init__(self, factor):
        self.factor = factor
        self.calls = 0

    def __call__(self, x, *, plus=0):
        self.calls += 1
        return x * self.factor + plus, self.calls


class Chain:
    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, x):
        for step in self.steps:
            x = step(x)[0]
        return x


if __name__ == "__main__":
    scale = Scale(3)
    with Executor(max_workers=1) as ex:
        print([ex.submit(scale, n, plus=1).result() for n in range(3)], scale.calls)
        print(list(ex.map(Chain(scale, Scale(2)), range(4))), scale.calls)
