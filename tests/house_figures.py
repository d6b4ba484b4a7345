"""Figures of the house, measured: ``python tests/house_figures.py`` prints them; ``test_house.py`` holds their limits.

Imports count wherever they stand: at the top, in functions, for type checkers only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "clusterfutures"


def modules() -> dict[str, ast.Module]:
    """``client.manager`` -> its tree; the ``__init__`` of a folder has the folder's name, that of the package ""."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def arrows(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    return {name: set(_imported(name, tree, trees)) - {name} for name, tree in trees.items()}


def _imported(name: str, tree: ast.Module, trees: dict[str, ast.Module]) -> Iterator[str]:
    folder = name if (PACKAGE / name.replace(".", "/") / "__init__.py").exists() else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            sources = [alias.name.split(".") for alias in node.names]
            yield from (".".join(parts[1:]) for parts in sources if parts[0] == "clusterfutures" and len(parts) > 1)
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, folder)
            for alias in node.names if source is not None else ():
                inner = f"{source}.{alias.name}".lstrip(".")
                if inner in trees:
                    yield inner
                elif source:  # names of the package itself are found when they are used
                    yield source


def _source(node: ast.ImportFrom, folder: str) -> str | None:
    if node.level:
        above = folder.split(".")[: len(folder.split(".")) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])
    first, _, rest = (node.module or "").partition(".")
    return rest if first == "clusterfutures" else None


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other, directly or by others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for other in graph.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    reach = {name: reached(name) for name in graph}
    found = {
        tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph if name in reach[name]
    }
    return sorted(list(circle) for circle in found)


def rooms(graph: dict[str, set[str]], folder: str) -> tuple[int, int]:
    """Modules directly in a folder, its ``__init__`` left out, and the arrows among them."""
    inside = {name for name in graph if name.startswith(f"{folder}.") and name.count(".") == folder.count(".") + 1}
    inside -= {name for name in inside if (PACKAGE / name.replace(".", "/")).is_dir()}
    return len(inside), sum(len(graph[name] & inside) for name in inside)


def strays(trees: dict[str, ast.Module]) -> list[str]:
    """Modules at the top of the package besides those that stand for what users import."""
    kept = {"", "__main__", "executors", "futures", "errors", "binning", "stored_runs", "config", "demo"}
    return [name for name in trees if "." not in name and name not in kept and not (PACKAGE / name).is_dir()]


def foreign_private(trees: dict[str, ast.Module]) -> list[str]:
    """``module: object._name``: private attributes of objects that another module makes."""
    found = []
    for name, tree in trees.items():
        own = set(_made_here(tree))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            if node.attr not in own | _NO_SECRETS and not _is(node.value, "self", "cls", *_LIBRARIES):
                found.append(f"{name}: {ast.unparse(node)}")
    return found


#: public, of named tuples
_NO_SECRETS = {"_asdict", "_fields", "_make", "_replace"}
#: what is private there is not ours
_LIBRARIES = ("ctypes", "enum", "functools", "os", "sys", "threading", "typing")


def _made_here(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives to attributes, methods, slots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is(node.value, "self", "cls"):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _is(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


#: a program that counts the files of the package that one warm ``submit`` runs through, and the changes between them
_SUBMIT = """
import sys, threading
from clusterfutures import LocalExecutor
import operator
package = sys.argv[1]
with LocalExecutor(max_workers=1) as ex:
    for _ in range(3):
        ex.submit(operator.add, 1, 1).result(60)
    way, lock = [], threading.Lock()
    def note(frame, event, arg):
        if event == "call" and frame.f_code.co_filename.startswith(package):
            with lock:
                way.append(frame.f_code.co_filename)
    sys.setprofile(note)
    ex.submit(operator.add, 1, 1)
    sys.setprofile(None)
print(len(set(way)), sum(a != b for a, b in zip(way, way[1:])))
"""


def warm_submit() -> tuple[int, int]:
    """Files of the package that one warm ``submit`` runs through in the caller's thread, and changes of file."""
    done = subprocess.run(
        [sys.executable, "-c", _SUBMIT, str(PACKAGE)], capture_output=True, text=True, timeout=120, check=True
    )
    files, changes = done.stdout.split()
    return int(files), int(changes)


def at_start_of_a_worker() -> list[str]:
    """Modules of the package that a worker has imported before its first bin."""
    code = "import sys, clusterfutures.node.main; print(*(m for m in sys.modules if m.startswith('clusterfutures')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def main() -> None:
    trees = modules()
    graph = arrows(trees)
    print("circles of imports:", *(circles(graph) or ["none"]), sep="\n  ")
    for folder in ("client", "client.resume", "node", "store", "jobs", "schedulers"):
        print(f"{folder}/: {rooms(graph, folder)[0]} rooms, {rooms(graph, folder)[1]} arrows")
    print("stray modules at the top:", *(strays(trees) or ["none"]))
    files, changes = warm_submit()
    print(f"one warm submit: {files} files, {changes} changes of file")
    print("modules at the start of a worker:", len(at_start_of_a_worker()))
    private = foreign_private(trees)
    print(f"private attributes of other modules' objects: {len(private)}", *private, sep="\n  ")
    print("lines of the package:", sum(len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")))


if __name__ == "__main__":
    main()
