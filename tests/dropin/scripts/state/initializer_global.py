"""An initializer sets a global; calls read it."""

from under_test import Executor

model = None


def load(name, size=1):
    global model
    model = f"{name}{size}"


def use(n):
    return model, n


if __name__ == "__main__":
    with Executor(max_workers=2, initializer=load, initargs=("model", 3)) as ex:
        print(list(ex.map(use, range(4))), ex.submit(use, 9).result())
    print(model)
