"""eval, exec, globals() and names that only a string mentions."""

from under_test import Executor

FACTOR = 3


def helper(n):
    return n * FACTOR


def evaluated(text):
    return eval(text)


def looked_up(name, n):
    return globals()[name](n)


def executed(n):
    space = {}
    exec("def inner(x): return x + 1", space)
    return space["inner"](n)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(evaluated, "1 + 2").result(),
            ex.submit(looked_up, "helper", 2).result(),
            ex.submit(executed, 4).result(),
        )
        print(ex.submit(evaluated, "helper(5) + FACTOR").result())
