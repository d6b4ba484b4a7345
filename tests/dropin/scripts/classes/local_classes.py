# better: a class made in a function has no name that pickle could import
"""Classes that a function makes."""

from under_test import Executor


def make_class(base):
    class Local(base):
        kind = "local"

        def get(self):
            return self.kind, super().__repr__() is not None, __class__ is Local

    return Local


if __name__ == "__main__":
    Local = make_class(object)
    with Executor(max_workers=1) as ex:
        assert ex.submit(Local().get).result() == ("local", True, True)
        assert type(ex.submit(Local).result()).__name__ == "Local"
        assert ex.submit(lambda thing: isinstance(thing, Local), Local()).result()
    print("done")
