"""Arguments of commands: every form in which they are given, and what the command gets."""

from __future__ import annotations

import enum
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from clusterfutures import Job, OptionError, make_job_file, submit_file
from clusterfutures.jobs.array import write_array
from clusterfutures.jobs.scripts import of_file

#: prints each of its arguments in brackets
SHOW = "printf '[%s]'"
AWKWARD = ["a b", "it's", '"x"', "$HOME `id` $(id)", "two\nlines", "{}", "{.}", "", "*", "\\", "end\r\n", "#no", "-n"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(job: Job) -> str:
    """What the job prints when its script is run by hand."""
    job.write()
    subprocess.run(["/bin/sh", f"{job.path}/run.sh"], timeout=60, check=True)
    assert job.stderr == ""
    with open(f"{job.path}/out", newline="", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def made(command: Any, args: Any = None, kwargs: Any = None) -> Job:
    return Job(command, args, kwargs, scheduler="local", directory="jobs")


def bracketed(words: list[str]) -> str:
    return "".join(f"[{word}]" for word in words)


def test_arguments_arrive_as_they_are() -> None:
    assert printed(made(SHOW, AWKWARD)) == bracketed(AWKWARD)
    assert printed(made(f"{SHOW} {{}} end", AWKWARD)) == bracketed([*AWKWARD, "end"])
    assert printed(made(f'{SHOW} "$@"', AWKWARD)) == bracketed(AWKWARD)
    assert printed(made(["printf", "[%s]"], AWKWARD)) == bracketed(AWKWARD)
    assert printed(made(["printf", "[%s]", "{}", "a b", "$HOME"], AWKWARD)) == bracketed([*AWKWARD, "a b", "$HOME"])
    assert printed(made(f"#!/bin/sh\n{SHOW}", AWKWARD)) == bracketed(AWKWARD)
    script = "#!/usr/bin/env python3\nimport sys; d = {}\nprint(sys.argv[1:] == " + repr(AWKWARD) + ")\n"
    assert printed(made(script, AWKWARD)) == "True\n"


def test_the_forms_of_the_arguments() -> None:
    (Path("a.txt")).write_text("12345")
    for args in (["-c", "a.txt"], ("-c", "a.txt"), iter(["-c", "a.txt"]), {"-c": 1, "a.txt": 2}.keys()):
        assert printed(made("wc", args)) == "5 a.txt\n"
    for nothing in (None, [], ()):
        assert printed(made("echo", nothing)) == "\n"

    class Words(enum.StrEnum):
        ONE = "one"

    values = [1, 2.5, True, Path("a b"), PurePosixPath("x"), b"raw\xff", Words.ONE, 1 + 2j]
    assert printed(made(SHOW, values)) == bracketed(["1", "2.5", "True", "a b", "x", "raw\udcff", "one", "(1+2j)"])
    assert printed(made(Path("/bin/echo"), [1])) == "1\n"


@pytest.mark.parametrize(
    ("command", "there"),
    [
        (f"{SHOW} {{}} {{}}", "[a b][c][a b][c]"),
        (f"{SHOW} '<{{}}>' \"{{}}\"", "[<a b c>][a b c]"),
        (f'{SHOW} "$(printf %s- {{}})"', "[a b-c-]"),
        (f'{SHOW} "$(printf %s- "{{}}")" "{{}}"', "[a b c-][a b c]"),
        (f"true; {SHOW}", "[a b][c]"),
        (f"{SHOW} ;", "[a b][c]"),
        (f"{SHOW} # what it is", "[a b][c]"),
        (f"{SHOW} # not here: {{}} $1\n\n", "[a b][c]"),
        (f"{SHOW} \\\n  first \\\n", "[first][a b][c]"),
        (f"{SHOW} first\r\n{SHOW} \r\n", "[first][a b][c]"),
        (f"cat </dev/null & wait; {SHOW} & wait; {SHOW}", "[][a b][c]"),
        (f"{SHOW} >&1 &\n", "[a b][c]"),
        (f"say() {{ {SHOW} \"$@\"; }}; say", "[a b][c]"),
        (f"{SHOW} '$1' \\$1 {{#}}", "[$1][$1][{#}][a b][c]"),
        (f"{SHOW} $# \"${{2}}\"", "[2][c]"),
        (f"for x; do {SHOW} \"$x\"; done", "[a b][c]"),
        (f"x=abc; {SHOW} ${{#x}}", "[3][a b][c]"),
        (f"{SHOW} <<<'a string'", "[a b][c]"),
        (f"#!/bin/sh\n# $2 goes first\n{SHOW} \"$2\" {{}}", "[][a b][c]"),
        (f"#!/bin/bash\nrun() {{ {SHOW} \"$1\"; }}\nrun \"$2\"", "[c]"),
    ],
)  # fmt: skip
def test_where_arguments_are_put(command: str, there: str) -> None:
    assert printed(made(command, ["a b", "c"])) == there


def test_without_arguments_a_command_stays_as_it_is() -> None:
    Path("x").touch()
    assert printed(made("find x -exec echo {} \\;")) == "x\n"
    assert printed(made("find x -exec echo {} +", [])) == "x\n"


@pytest.mark.parametrize(
    ("command", "args", "kwargs", "words"),
    [
        ("wc", ["-c", None], None, "argument 2 of the command is None, of type NoneType"),
        ("wc", [["-c"]], None, r"argument 1 of the command is \['-c'\], of type list"),
        ("wc", [object()], None, "argument 1 of the command is <object"),
        ("wc", ["a\0b"], None, "NUL"),
        ("wc", ["\ud800"], None, "cannot be encoded"),
        ("wc", "a.txt", None, r"args='a.txt': expected a list.*as in \['a.txt'\]"),
        ("wc", Path("a.txt"), None, "expected a list"),
        ("wc", 5, None, r"args=5: expected a list.*\[5\]"),
        ("wc", {"c": 1}, None, "expected a list.*kwargs"),
        (len, "text", None, "args='text': expected a list"),
        ("wc", None, {"c": 1}, "kwargs={'c': 1}: a shell command takes no keyword arguments"),
        ([], None, None, "expected shell text"),
        ([""], None, None, "expected shell text"),
        (["wc", None], None, None, "word 2 of the command is None"),
        (5, None, None, "expected shell text"),
        ("cat <<END\ntext\nEND", ["x"], None, "here-document"),
        ("# nothing", ["x"], None, "comments only"),
    ],
)
def test_what_cannot_be_arguments(command: Any, args: Any, kwargs: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        made(command, args, kwargs).write()
    assert list(Path("jobs").glob("*")) == []


def items_of(command: Any, items: list[Any], **options: Any) -> Iterator[str]:
    return map(printed, write_array(command, items, scheduler="local", directory="jobs", **options))


def test_arrays() -> None:
    for word in AWKWARD:
        Path(word.replace("/", "") or "empty").write_text(word)
    assert list(items_of(SHOW, AWKWARD)) == [f"[{word}]" for word in AWKWARD]
    assert list(items_of(f"{SHOW} {{}} {{#}}", AWKWARD[:2])) == ["[a b][1]", "[it's][2]"]
    assert list(items_of(f"{SHOW} {{}} end", [("a b", 2)])) == ["[a b][2][end]"]
    assert list(items_of(SHOW, [("a b", 2), Path("x")])) == ["[a b][2]", "[x]"]
    assert list(items_of(f"{SHOW} {{}}", ["{}"], args=["more"])) == ["[{}][more]"]
    assert list(items_of(SHOW, ["x"], args=["-v"])) == ["[-v][x]"]
    assert list(items_of(f'{SHOW} "$1"', ["a b"])) == ["[a b]"]
    with pytest.raises(OptionError, match="input 2 of the command is None"):
        list(items_of("echo", ["x", None]))


def test_files_get_theirs_as_parameters(tmp_path: Path) -> None:
    Path("fit.sh").write_text("find $1 -exec echo {} \\;\n")
    job = of_file("fit.sh", ["fit.sh"], scheduler="local", directory="jobs")
    assert printed(job) == "fit.sh\n"
    Path("windows.sh").write_bytes(b"#!/bin/bash\r\necho [$1]\r\n")
    assert printed(of_file("windows.sh", ("x",), scheduler="local", directory="jobs")) == "[x]\n"
    written = make_job_file("echo", ["a  b"], scheduler="local", directory="jobs")
    assert submit_file(written, None).get(30) == (0, "a  b\n", "")
