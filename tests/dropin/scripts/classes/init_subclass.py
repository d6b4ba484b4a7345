"""__init_subclass__ with keywords runs once for each class; registries and __set_name__."""

from under_test import Executor


class Field:
    def __set_name__(self, owner, name):
        self.name = name
        owner.names = [*getattr(owner, "names", []), name]

    def __get__(self, one, owner):
        return self if one is None else one.__dict__.get(self.name, "unset")

    def __set__(self, one, value):
        one.__dict__[self.name] = value


class Plugin:
    plugins = []

    def __init_subclass__(cls, /, key=None, **more):
        super().__init_subclass__(**more)
        cls.key = key
        Plugin.plugins.append((key, cls.__name__))


class First(Plugin, key="1"):
    size = Field()


class Second(Plugin, key="2"):
    pass


def plugins(_):
    return Plugin.plugins, First.key, First.names


def make(n):
    made = First()
    made.size = n
    return made


def keys(classes):
    return [cls.key for cls in classes]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(plugins, 0).result(), ex.submit(keys, [First, Second]).result())
        made = ex.submit(make, 3).result()
        print(made.size, First().size, type(made) is First, Plugin.plugins)
