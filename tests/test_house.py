"""The rules of the house, as docs/explanation/architecture.md states them: who may import whom,
how large a module may get, what a node may load.

A table here that has to grow is a question to the reviewer.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import house_figures
import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "clusterfutures"
MODULES = sorted(PACKAGE.rglob("*.py"))

MODULE_LINES = 700
FUNCTION_LINES = 60

#: larger than that, for now: they may only shrink ("client/manager.py:_turn": 70)
LARGER_MODULES: dict[str, int] = {}
LARGER_FUNCTIONS: dict[str, int] = {}

#: room -> what it may import of the package; a module stands for itself, a room for all in it
MAY_IMPORT = {
    "__init__": {
        "cluf",
        "config",
        "errors",
        "executors",
        "futures",
        "jobs",
        "options",
        "pickling",
        "schedulers",
        "stored_runs",
    },
    "__main__": {"cli"},
    "errors": set[str](),
    "binning": set[str](),
    "futures": set[str](),
    "executors": {"client", "config", "errors", "futures", "options", "pickling.by_value", "schedulers"},
    "stored_runs": {"client", "errors", "executors", "futures", "options.settings", "schedulers", "store"},
    "config": {"errors", "options", "schedulers"},
    "options": {"errors", "options", "schedulers"},
    "client": {
        "__init__",  # for names that are imported when they are used
        "binning",
        "client",
        "errors",
        "futures",
        "options",
        "pickling",
        "schedulers.absence",
        "schedulers.base",
        "schedulers.job_state",
        "schedulers.polling",
        "schedulers.variables",
        "store",
    },
    "store": {"errors", "pickling", "store"},
    "node": {"__init__", "errors", "node", "pickling", "store"},
    "pickling": {"errors", "pickling", "store.frames", "store.references"},
    "schedulers": {"errors", "options.places", "schedulers"},
    "jobs": {"config", "errors", "jobs", "options", "pickling", "schedulers", "store.faults", "store.parents"},
    "commandline": {"commandline", "errors"},
    "cli": {"__init__", "cli", "commandline", "config", "errors", "jobs", "options", "schedulers"},
    "cluf": {"binning", "cluf", "commandline", "config", "errors", "options.config_file", "pickling", "schedulers"},
    "demo": {"__init__", "demo", "errors", "options.table", "schedulers"},
    "testing": {"testing"},
}

#: the only ones of the product that start processes
MAY_START_PROCESSES = {"schedulers/command.py", "schedulers/local.py", "schedulers/local_queue/minder.py"}

#: in store/, the only ones to touch files; run.py creates, removes and reads logs
MAY_TOUCH_FILES = {"store/filesystem.py", "store/parents.py", "store/run_directory.py"}

#: what a node has no use for, and would wait for at every start
NOT_ON_A_NODE = [
    "asyncio", "concurrent.futures.process", "concurrent.futures.thread", "dataclasses", "filelock", "http", "inspect",
    "json", "multiprocessing", "numpy", "rich", "shutil", "socket", "sqlite3", "ssl", "subprocess",
    "tempfile", "traceback", "typing_extensions", "urllib", "uuid",
    "clusterfutures.client", "clusterfutures.executors", "clusterfutures.schedulers", "clusterfutures.testing",
]  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def every_module() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", MODULES, ids=name_of)


def dotted(path: Path) -> str:
    """``client.manager`` for client/manager.py, ``client`` for client/__init__.py, ``__init__`` at the top."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1]) if parts[-1] == "__init__" and len(parts) > 1 else ".".join(parts)


def is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All of a tree, save what only type checkers read."""
    for child in ast.iter_child_nodes(tree):
        if not is_for_checkers(child):
            yield child
            yield from nodes(child)


def imports(path: Path) -> set[str]:
    """The full names of modules that a module imports, at the top or later."""
    found: set[str] = set()
    base = ["clusterfutures", *path.relative_to(PACKAGE).parent.parts]
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                found.add(f"{source}.{alias.name}" if is_module(f"{source}.{alias.name}") else source)
    return found


def is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def ours(path: Path) -> set[str]:
    """What a module imports of this package: ``client.manager``, ``__init__`` for the package itself."""
    names = {name for name in imports(path) if name.partition(".")[0] == "clusterfutures"}
    return {name.partition(".")[2] or "__init__" for name in names}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@every_module()
def test_import_graph(path: Path) -> None:
    room = dotted(path).partition(".")[0]
    assert room in MAY_IMPORT, f"say in MAY_IMPORT what {room} may import"
    allowed = MAY_IMPORT[room]
    wrong = {name for name in ours(path) if name not in allowed and name.partition(".")[0] not in allowed}
    assert not wrong


@every_module()
def test_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "one sentence: what does it own?"


@every_module()
def test_size(path: Path) -> None:
    text = path.read_text()
    lines = text.count("\n")
    assert lines <= LARGER_MODULES.get(name_of(path), MODULE_LINES)
    too_long = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > LARGER_FUNCTIONS.get(f"{name_of(path)}:{node.name}", FUNCTION_LINES):
                too_long[node.name] = length
    assert not too_long


def test_tables_of_larger_ones_are_not_out_of_date() -> None:
    """What has become small enough leaves the table."""
    for name in LARGER_MODULES:
        assert (PACKAGE / name).read_text().count("\n") > MODULE_LINES, f"{name} fits now"
    for entry in LARGER_FUNCTIONS:
        file, _, function = entry.partition(":")
        lengths = [
            (node.end_lineno or 0) - node.lineno + 1
            for node in ast.walk(ast.parse((PACKAGE / file).read_text()))
            if isinstance(node, ast.FunctionDef) and node.name == function
        ]
        assert lengths, f"{entry} is gone"
        assert max(lengths) > FUNCTION_LINES, f"{entry} fits now"


@every_module()
def test_processes_are_started_in_few_places(path: Path) -> None:
    if name_of(path) in MAY_START_PROCESSES or dotted(path).startswith("testing"):
        return
    assert "subprocess" not in imports(path)
    assert not {name for name, _ in calls(path) if name in ("os.system", "os.popen", "os.posix_spawn")}


@every_module()
def test_no_shell(path: Path) -> None:
    for name, call in calls(path):
        runs = name.startswith("subprocess.") or name in ("run", "Popen", "call", "check_call", "check_output")
        shell = [word.value for word in call.keywords if runs and word.arg == "shell"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in shell)


@pytest.mark.parametrize("path", sorted((PACKAGE / "store").glob("*.py")), ids=name_of)
def test_files_are_touched_in_one_place(path: Path) -> None:
    if name_of(path) in MAY_TOUCH_FILES:
        return
    assert not imports(path) & {"os", "shutil", "pathlib", "io", "mmap"}
    assert "open" not in {name for name, _ in calls(path)}


@pytest.mark.parametrize("path", [path for path in MODULES if dotted(path).startswith("client")], ids=name_of)
def test_client_touches_no_files_of_a_run(path: Path) -> None:
    verbs = {"open", "os.rename", "os.replace", "os.unlink", "os.mkdir", "os.makedirs", "os.listdir", "os.open"}
    assert not verbs & {name for name, _ in calls(path)}


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {script}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_a_node_starts_with_little() -> None:
    loaded = loaded_by("import clusterfutures.node.main")
    assert "clusterfutures.node.main" in loaded
    assert not loaded.intersection(NOT_ON_A_NODE)


def test_importing_the_package_imports_no_part_of_it() -> None:
    assert {name for name in loaded_by("import clusterfutures") if name.startswith("clusterfutures.")} == set()


def test_public_names_are_where_they_are_said_to_be() -> None:
    import clusterfutures

    assert set(clusterfutures.__all__) <= set(dir(clusterfutures))
    for name in clusterfutures.__all__:
        assert getattr(clusterfutures, name).__module__.startswith("clusterfutures.")


def test_nothing_of_the_node_is_imported_by_what_users_import() -> None:
    loaded = loaded_by("from clusterfutures import ClusterExecutor, LocalExecutor, PBSExecutor, SlurmExecutor")
    assert not {name for name in loaded if name.startswith(("clusterfutures.node", "clusterfutures.testing", "rich"))}


def test_no_two_test_modules_have_one_name() -> None:
    """They are imported by their names alone, so one of two would not be collected."""
    names = Counter(path.name for path in (PACKAGE.parent / "tests").rglob("*.py") if "__pycache__" not in path.parts)
    assert [name for name, count in names.items() if count > 1] == []


#: words at which readers stumble, most of all those who learnt English later (CONTRIBUTING.md)
STUMBLING = re.compile(
    r"\b(bears?|(is|are|was|were|be|been) told|tells? itself|whoever|whose|nobody has|what is no|(is|are) to be had"
    r"|(be|is|are|was|been) (come back to|gone on with)|as far as|forbade|once more|stands? in|all the same|asks"
    r"|save (for|what|those|that|when|where|after|in|by|the|as))\b|, save ",
    re.IGNORECASE,
)

#: docstrings and comments that still have one: this number may only shrink
STUMBLING_LEFT = 20


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module, with their lines."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_words_that_make_readers_stumble() -> None:
    found = []
    for path in [*MODULES, *sorted((PACKAGE.parent / "benchmarks").glob("*.py"))]:
        for line, text in prose(path):
            if match := STUMBLING.search(text):
                found.append(f"{path.name}:{line}: {match[0].strip()!r}")
    assert len(found) <= STUMBLING_LEFT, "\n".join(["say it in plain words, see 'Write' in CONTRIBUTING.md:", *found])


#: names of this package's own making that readers had to learn; the field's words stand for them now
OLD_WORDS = re.compile(r"\b(?:arena|clerk|ledger|lookout|outbox|pump|roster|surroundings)s?\b", re.IGNORECASE)


@pytest.mark.parametrize("room", ["clusterfutures", "docs", "tests"])
def test_the_fields_words(room: str) -> None:
    """A dispatcher is called that, and nothing else, wherever it is spoken of."""
    root = PACKAGE.parent / room
    paths = [path for path in root.rglob("*") if path.suffix in (".py", ".md") and path != Path(__file__)]
    assert paths
    found = [
        f"{path.relative_to(root)}: {match[0]}"
        for path in paths
        for match in [OLD_WORDS.search(path.read_text())]
        if match
    ]
    assert not found


def test_no_circle_of_imports() -> None:
    """Imports for type checkers and those in functions count."""
    assert not house_figures.circles(house_figures.arrows(house_figures.modules()))


def test_rooms() -> None:
    """Folders stay small enough to know: modules, and imports among them."""
    trees = house_figures.modules()
    graph = house_figures.arrows(trees)
    for folder, most_rooms, most_arrows in (("client", 20, 65), ("node", 20, 56)):
        count, arrows = house_figures.rooms(graph, folder)
        assert count <= most_rooms
        assert arrows <= most_arrows
    assert not house_figures.strays(trees)
