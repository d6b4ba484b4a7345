"""typing.get_type_hints and inspect on what the script defines."""

from __future__ import annotations
import inspect, typing
from under_test import Executor


class Item:
    size: int
    other: Item | None


def make(item: Item, n: int = 1) -> list[Item]:
    return [item] * n


def hints():
    found = typing.get_type_hints(make)
    return found["item"] is Item, found["return"] == list[Item], typing.get_type_hints(Item)["size"] is int


def looked():
    return (
        list(inspect.signature(make).parameters),
        inspect.isclass(Item),
        Item.__name__,
        Item.__qualname__,
        Item.__module__,
    )


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(looked).result(), ex.submit(hints).result())
