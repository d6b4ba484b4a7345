"""Every block of code in README.md and docs/ is run, and their tables are compared with the code.

    ```python            a script of its own, in an empty directory and home; SlurmExecutor
                         means a real Slurm, PBSExecutor the stand-in for PBS Pro
    ```sh                run by sh
    ```text              after <!-- output -->: what the block before it must print;
                         else a picture or what is typed by hand, which is not run
    ```{...}             a directive of Sphinx, which its build checks

A comment before a block changes that:

    <!-- test: pytest -->    a test module, for pytest
    <!-- test: alone -->     looks at all jobs: runs after the others of its page
    <!-- test: ci -->        a command that .ci/run runs, word by word
    <!-- test: config -->    a configuration file without a mistake
    <!-- table: cluf -->     before a table that docs/tables.py writes
    <!-- example -->         what is printed, shortened
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from clusterfutures import config
from clusterfutures.testing import FakePBS
from clusterfutures.testing.real_slurm import RealSlurm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]
import tables  # noqa: E402
from test_house import STUMBLING  # noqa: E402

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in path.parts
}
SECONDS = 150
#: snippets of one page
AT_ONCE = 4


class Block(NamedTuple):
    """A fenced block: where it is, its language, its text, the mark before it, what it must print."""

    page: str
    line: int
    language: str
    text: str
    mark: str
    output: str | None


def _blocks() -> list[Block]:
    found: list[Block] = []
    pattern = re.compile(r"(?:^<!-- ([^\n]+) -->\n)?^```([\w{}-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for page, content in PAGES.items():
        for match in pattern.finditer(content):
            mark, language, text = match.groups()
            if mark == "output":
                found[-1] = found[-1]._replace(output=text)
                continue
            line = content.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, language, text, (mark or "").removeprefix("test: "), None))
    return found


BLOCKS = _blocks()


def of(language: str, *marks: str) -> list[Block]:
    chosen = [block for block in BLOCKS if block.language == language and block.mark in marks]
    assert chosen, f"no {language} blocks are marked {marks}"
    return chosen


def each(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=[f"{block.page}:{block.line}" for block in blocks])


def user(place: Path, cluster: RealSlurm) -> dict[str, str]:
    """The environment of a user with an empty home and an empty working directory, who has a Slurm."""
    place.mkdir()
    (place / "home").mkdir()
    (place / "here").mkdir()
    _commands(place / "bin")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CLUSTERFUTURES_")},
        **cluster.environment,
        "HOME": str(place / "home"),
        "PATH": os.pathsep.join([str(place / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
    }


def _commands(directory: Path) -> None:
    """The package's commands, as its installation would make them."""
    directory.mkdir()
    for name, entry in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items():
        module, _, function = entry.partition(":")
        file = directory / name
        file.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
        file.chmod(0o755)


def run(argv: list[str], place: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run in an empty directory; it must end well and leave nothing in the home."""
    done = subprocess.run(
        argv, cwd=place / "here", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    runs = place / "home" / ".clusterfutures" / "runs"
    assert not runs.exists() or not list(runs.iterdir())
    return done


@contextlib.contextmanager
def scheduler_of(block: Block, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    if "PBSExecutor" not in block.text or "FakePBS" in block.text:
        yield environment
        return
    pbs = FakePBS()
    pbs.start()
    try:
        yield environment | pbs.environment
    finally:
        pbs.stop()


def run_python(block: Block, place: Path, environment: dict[str, str]) -> None:
    script = place / "snippet.py"
    script.write_text(block.text)
    with scheduler_of(block, environment) as variables:
        done = run([sys.executable, str(script)], place, variables)
    if block.output is not None:
        assert done.stdout == block.output


def run_pytest(block: Block, place: Path, environment: dict[str, str]) -> None:
    (place / "here" / "test_snippet.py").write_text(block.text)
    installed = importlib.metadata.entry_points(group="pytest11", name="clusterfutures")
    plugin = [] if installed else ["-p", "clusterfutures.testing.pytest_plugin"]
    done = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin], place, environment)
    assert f"{block.text.count('def test_')} passed" in done.stdout


def run_shell(block: Block, place: Path, environment: dict[str, str]) -> None:
    done = run(["sh", "-e", "-c", block.text], place, environment)
    if block.output is not None:
        assert done.stdout == block.output


RUN = {
    ("python", ""): run_python,
    ("python", "alone"): run_python,
    ("python", "pytest"): run_pytest,
    ("sh", ""): run_shell,
    ("sh", "alone"): run_shell,
}
TO_RUN = [block for block in BLOCKS if (block.language, block.mark) in RUN]


@pytest.mark.parametrize("page", [page for page, _ in Counter(block.page for block in TO_RUN).most_common()])
def test_snippets(page: str, tmp_path: Path, real_slurm_cluster: RealSlurm) -> None:
    """All snippets of one page, at the same time: most of their time is waiting for jobs to start."""

    def try_out(block: Block) -> str:
        place = tmp_path / str(block.line)
        try:
            RUN[block.language, block.mark](block, place, user(place, real_slurm_cluster))
        except Exception as error:
            return f"{block.page}:{block.line}: {type(error).__name__}: {error}"
        return ""

    blocks = [block for block in TO_RUN if block.page == page]
    together = [block for block in blocks if block.mark != "alone"]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        failures = list(filter(None, threads.map(try_out, together)))
    failures += filter(None, map(try_out, [block for block in blocks if block not in together]))
    assert not failures, "\n\n".join(failures)


@each(of("sh", "ci"))
def test_ci_runs_what_the_readme_says(block: Block) -> None:
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert block.text.strip() in lines


@each(of("toml", "config"))
def test_configuration(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mistake is found in it, and every key of every profile arrives."""
    file = tmp_path / "config.toml"
    file.write_text(block.text)
    file.chmod(0o600)
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", str(file))
    assert config.problems() == []
    content = tomllib.loads(block.text)
    everywhere = {key for key, value in content.items() if not isinstance(value, dict)}
    for name, profile in content["profile"].items():
        assert config.load().options(name).keys() >= everywhere | profile.keys() - {"inherits"}


def test_no_block_is_left_out() -> None:
    known = RUN.keys() | {("sh", "ci"), ("toml", "config"), ("text", "")}
    directives = [block for block in BLOCKS if block.language.startswith("{")]
    left = [block for block in BLOCKS if (block.language, block.mark) not in known and block not in directives]
    assert [block for block in left if (block.language, block.mark) != ("text", "example")] == []
    fences = sum(content.count("```") for content in PAGES.values())
    assert fences == 2 * (len(BLOCKS) + sum(block.output is not None for block in BLOCKS))


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- table: " in PAGES[page]])
def test_tables_are_those_of_the_code(page: str) -> None:
    assert tables.filled(PAGES[page]) == PAGES[page], "run python docs/tables.py"
    assert PAGES[page].count("<!-- table: ") == PAGES[page].count("<!-- end of table -->")


def test_every_table_is_in_a_page() -> None:
    assert set(re.findall(r"<!-- table: (\w+) -->", "".join(PAGES.values()))) == set(tables.TABLES)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    wrong = []
    for target in re.findall(r"\]\((?!https?:)(.+?)\)", PAGES[page]):
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_no_words_that_make_readers_stumble(page: str) -> None:
    if page == "CONTRIBUTING.md":  # names some of them
        return
    text = re.sub(r"^```.*?^```$|<!-- table: .*?<!-- end of table -->", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    assert [line for line in text.splitlines() if STUMBLING.search(line)] == []


def test_readme_is_short() -> None:
    assert PAGES["README.md"].count("\n") <= 200


def test_every_page_is_in_the_contents() -> None:
    """Sphinx warns of a page that no table of contents names; this tells it without Sphinx."""
    index = PAGES["docs/index.md"]
    pages = {name.removeprefix("docs/").removesuffix(".md") for name in PAGES if name.startswith("docs/")}
    assert {name for name in pages if f"\n{name}\n" not in index} == {"index"}


def test_main_options_are_the_executors() -> None:
    from clusterfutures.executors import _SETTINGS

    table = PAGES["docs/tutorials/first-steps.md"].partition("The main options of an executor")[2]
    assert set(_SETTINGS) <= set(re.findall(r"`(\w+)`", table))


def test_errors_are_those_that_exist() -> None:
    import clusterfutures

    table = PAGES["docs/explanation/failures.md"]
    named = set(re.findall(r"`([A-Z]\w+(?:Error|Failed|Died|Unavailable))`", table)) - {"BrokenExecutor"}
    assert named <= set(clusterfutures.__all__)
    assert named >= {name for name in clusterfutures.__all__ if name.endswith(("Error", "Failed", "Died"))}
