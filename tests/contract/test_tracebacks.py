"""Code that travels by value keeps its file, its lines and their text, for tracebacks, warnings and ``inspect``.

The text of a script is read from its file.  That of a notebook's cell, a doctest or an archive travels with the code.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Ground

from clusterfutures import remove_run

_FUNCTIONS = """
import functools, inspect, linecache, sys, traceback, warnings

def boom(x):
    y = x + 1
    raise ValueError(y)  # the guilty line

class Boom:
    def method(self):
        raise KeyError("m")  # line of the method

    @property
    def value(self):
        raise KeyError("p")  # line of the property

    def __call__(self):
        return self.value

def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)  # line of the wrapper
    return wrapper

@decorated
def wrapped():
    return [1 / n for n in (1, 0)]  # line of the comprehension

def generated():
    def generator():
        yield 1
        raise KeyError("g")  # line of the generator
    return list(generator())

def source():
    return inspect.getsource(boom)

def warned():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("old")  # line of the warning
    return caught[0].filename, linecache.getline(caught[0].filename, caught[0].lineno).strip()

def give():
    def given():
        raise KeyError("r")  # line of the result
    return given
"""

_CALLS = """
def lines_of(error):
    remote, _, _ = "".join(traceback.format_exception(error)).partition("The above exception")
    return remote

if __name__ == "__main__":
    from clusterfutures import LocalExecutor
    with LocalExecutor(max_workers=1) as ex:
        for f, args in ((boom, (1,)), (Boom().method, ()), (Boom(), ()), (wrapped, ()), (generated, ())):
            print(lines_of(ex.submit(f, *args).exception(60)))
        print(ex.submit(source).result(60))
        print(ex.submit(warned).result(60))
        try:
            ex.submit(give).result(60)()
        except KeyError:
            print(traceback.format_exc())
"""
_LINES = [
    "guilty line", "line of the method", "line of the property", "line of the wrapper", "line of the comprehension",
    "line of the generator", "def boom(x):\n    y = x + 1\n", "line of the warning", "line of the result",
]  # fmt: skip

#: runs a text as a notebook does: the text is in linecache, and nowhere else
_CELL = """
import linecache, sys
name, source = "/nowhere/ipykernel_7/123.py", open(sys.argv[1]).read()
linecache.cache[name] = (len(source), None, source.splitlines(True), name)
exec(compile(source, name, "exec"), globals())
"""


def _program(way: str, directory: Path) -> subprocess.CompletedProcess[str]:
    text = _FUNCTIONS + _CALLS
    script = directory / "program_of_lines.py"
    script.write_text(text)
    archive = directory / "program.pyz"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("__main__.py", text)
    arguments = {
        "script": [str(script)],
        "relative": [script.name],
        "-m": ["-m", "program_of_lines"],
        "cell": ["-c", _CELL, str(script)],
        "archive": [str(archive)],
        "-c": ["-c", text],
        "stdin": ["-"],
    }[way]
    return subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, cwd=directory, timeout=100
    )


@pytest.mark.on("local")
@pytest.mark.parametrize("way", ["script", "relative", "-m", "cell", "archive"])
def test_lines_and_their_text(ground: Ground, tmp_path: Path, way: str) -> None:
    done = _program(way, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in _LINES if line not in done.stdout] == []
    assert "<dynamic-code>" not in done.stdout
    lines = (_FUNCTIONS + _CALLS).splitlines()
    assert f"line {lines.index('    raise ValueError(y)  # the guilty line') + 1}, in boom" in done.stdout


@pytest.mark.on("local")
@pytest.mark.parametrize("way", ["-c", "stdin"])
def test_lines_where_python_may_not_keep_the_text(ground: Ground, tmp_path: Path, way: str) -> None:
    text = _FUNCTIONS.replace("return inspect.getsource(boom)", "return ''") + _CALLS
    script = tmp_path / "program.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, *(["-c", text] if way == "-c" else ["-"])],
        input=text, capture_output=True, text=True, cwd=tmp_path, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    name = "<string>" if way == "-c" else "<stdin"
    number = text.splitlines().index("    raise ValueError(y)  # the guilty line") + 1
    (line,) = [line for line in done.stdout.splitlines() if line.endswith(f"line {number}, in boom")]
    assert name in line
    kept = subprocess.run(
        [sys.executable, "-c", "import linecache\ndef f(): pass\nprint(bool(getattr(linecache, "
         "'_getlines_from_code', lambda c: linecache.getlines('<string>'))(f.__code__)))"],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    if way == "-c" and "True" in kept:
        assert "guilty line" in done.stdout


@pytest.mark.on("local")
def test_a_doctest_and_a_job(ground: Ground, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        '''
import doctest, traceback
from clusterfutures import LocalExecutor, submit

def remote(error):
    return "".join(traceback.format_exception(error)).partition("The above exception")[0]

def bad():
    raise ValueError("j")  # line of the job

def documented():
    """
    >>> def example():
    ...     raise KeyError("d")  # line of the doctest
    >>> with LocalExecutor(max_workers=1) as ex:
    ...     seen.append(remote(ex.submit(example).exception(60)))
    """

seen = []
if __name__ == "__main__":
    assert doctest.testmod().failed == 0
    try:
        submit(bad, scheduler="local").get()
    except ValueError as error:
        seen.append(remote(error))
    print(*seen)
'''
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "# line of the doctest" in done.stdout
    assert f'{program}", line 9, in bad' in done.stdout
    assert "# line of the job" in done.stdout


@pytest.mark.on("local")
def test_a_call_is_known_when_its_function_has_moved(ground: Ground, tmp_path: Path) -> None:
    program = """
import sys
from clusterfutures import LocalExecutor
{}
def count(x):
    open("made", "a").write("x")
    return x
with LocalExecutor(max_workers=1, run="moved", directory=sys.argv[1]) as ex:
    print(ex.submit(count, 3).result(60))
"""
    for number, more in enumerate(("", "\n# a comment that moves the function\n\n")):
        script = tmp_path / f"program{number}.py"
        script.write_text(program.format(more))
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / "runs")],
            capture_output=True, text=True, cwd=tmp_path, timeout=100,
        )  # fmt: skip
        assert done.stdout == "3\n", done.stderr
    assert (tmp_path / "made").read_text() == "x"
    remove_run("moved", directory=tmp_path / "runs")
