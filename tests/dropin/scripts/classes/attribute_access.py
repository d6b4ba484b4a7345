"""Objects that answer any attribute, delegate, or refuse some: pickling must not be confused."""

from under_test import Executor


class Proxy:
    def __init__(self, target):
        self.__dict__["target"] = target

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["target"], name)

    def __setattr__(self, name, value):
        setattr(self.target, name, value)


class Recorder:
    def __init__(self):
        self.log = []

    def __getattribute__(self, name):
        if name not in ("log", "__dict__", "__class__"):
            object.__getattribute__(self, "log").append(name)
        return object.__getattribute__(self, name)

    def hello(self):
        return "hello"


class Target:
    value = 3


def read(proxy):
    proxy.other = 5
    return proxy.value, proxy.target.other, type(proxy).__name__


def hello(recorder):
    return recorder.hello()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(read, Proxy(Target())).result(), ex.submit(hello, Recorder()).result())
