"""Two names for one object; an object that a class and a function share."""

from under_test import Executor

first = second = []


class Holder:
    items = first


def add(n):
    first.append(n)
    return second, Holder.items, first is second, Holder.items is first


def look():
    return list(second), Holder.items is first


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(add, 1).result(), ex.submit(add, 2).result(), ex.submit(look).result(), first)
