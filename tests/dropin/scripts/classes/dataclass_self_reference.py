"""Two classes that name each other, and one that names itself."""

import dataclasses
from under_test import Executor


@dataclasses.dataclass
class Tree:
    name: str
    leaves: "list[Leaf]" = dataclasses.field(default_factory=list)
    parent: "Tree | None" = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass
class Leaf:
    owner: Tree = dataclasses.field(repr=False)
    size: int = 1


def grow(tree):
    tree.leaves.append(Leaf(tree))
    return tree


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        tree = ex.submit(grow, Tree("oak", parent=Tree("forest"))).result()
    print(tree, tree.leaves[0].owner is tree, isinstance(tree.leaves[0], Leaf), tree.parent)
