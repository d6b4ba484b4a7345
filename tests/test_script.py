"""The script of a job, run by the shells it will meet, with the worst of paths and values."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.errors import OptionError
from clusterfutures.options.table import script_parts
from clusterfutures.schedulers.base import JobSpec
from clusterfutures.schedulers.script import build, interpreter, quoted

SHELLS = [shell for shell in ("/bin/sh", "/bin/bash", "/bin/dash") if shutil.which(shell)]
NASTY = [
    "plain", "", " ", "a b", "it's", 'q"q', "$(touch pwned)", "`touch pwned`", "$HOME", "a\nb", "\n", "tab\there",
    "back\\slash", "\\", "*", "~", "#x", "a;b&c|d", "(x)", "{a,b}", "!h", "-n", "é ü 漢字 😀", "100%", "\x01",
    "dos\r\nline\r", "\r", "\udc80bytes",
    "a\n#SBATCH -p b\n#PBS -q b",
]  # fmt: skip
SHOW = "import sys, os; sys.stdout.buffer.write(repr([os.fsencode(a) for a in sys.argv[1:]]).encode())"

needs_bash = pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash")


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return JobSpec(name="n", command=["true"], log=str(tmp_path / "log"), cwd=str(tmp_path))


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    def start(spec: JobSpec, shell: str = "", prologue: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        path = write(spec, tmp_path, prologue)
        argv = [shell, str(path)] if shell else [str(path)]
        return subprocess.run(argv, capture_output=True, cwd="/", timeout=60, check=False)

    return start


def write(spec: JobSpec, directory: Path, prologue: Sequence[str] = ()) -> Path:
    path = directory / "job.sh"
    path.write_text(build(spec, directives=[], prologue=prologue), errors="surrogateescape", newline="")
    path.chmod(0o700)
    return path


def expected(words: Sequence[str]) -> bytes:
    return repr([os.fsencode(word) for word in words]).encode()


Start = Callable[..., subprocess.CompletedProcess[bytes]]

# --------------------------------------------------------------------------- quoting


@pytest.mark.parametrize("shell", SHELLS)
def test_arguments_arrive_as_they_are(spec: JobSpec, start: Start, shell: str) -> None:
    done = start(dataclasses.replace(spec, command=[sys.executable, "-c", SHOW, *NASTY]), shell)
    assert done.stdout == expected(NASTY)
    assert done.returncode == 0
    assert not (Path(spec.cwd) / "pwned").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_variables_arrive_as_they_are(spec: JobSpec, start: Start, shell: str) -> None:
    env = {f"V{number}": value for number, value in enumerate(NASTY)}
    show = (
        f"import sys, os; sys.stdout.buffer.write(repr([os.environb[b'V%d' % i] for i in range({len(env)})]).encode())"
    )
    done = start(dataclasses.replace(spec, env=env, command=[sys.executable, "-c", show]), shell)
    assert done.stdout == expected(NASTY)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", [name for name in NASTY if name.strip()])
def test_directories_may_be_called_anything(spec: JobSpec, start: Start, tmp_path: Path, name: str, shell: str) -> None:
    cwd = tmp_path / name
    cwd.mkdir(exist_ok=True)
    environment = cwd / "environment"
    environment.write_text("export FROM_FILE=1\n")
    show = "import os; print(os.environ['FROM_FILE'], os.fsencode(os.getcwd()))"
    command = [sys.executable, "-c", show]
    done = start(dataclasses.replace(spec, cwd=str(cwd), environment_file=str(environment), command=command), shell)
    assert done.stdout.decode() == f"1 {os.fsencode(os.path.realpath(cwd))!r}\n"


def test_no_carriage_return_stands_in_the_script(spec: JobSpec) -> None:
    # sbatch refuses such a script ("DOS line breaks"), and so does qsub ("contains cr, lf")
    dos = dataclasses.replace(spec, env={"A": "x\r\ny"}, setup=["true\r\n", "true\r"], command=["a\rb"], cwd="/x\ry")
    assert "\r" not in build(dos, directives=[], prologue=[])


@pytest.mark.parametrize("name", ["A B", "A-B", "1A", "", "A=B", "A\nB", "é"])
def test_names_of_variables_are_checked(spec: JobSpec, name: str) -> None:
    with pytest.raises(OptionError, match="environment variable"):
        build(dataclasses.replace(spec, env={name: "x"}), directives=[], prologue=[])


def test_no_line_of_a_value_or_of_the_users_is_a_directive(spec: JobSpec) -> None:
    # sbatch of 22.05 reads them down to the last line, and in the middle of quotes
    text = build(dataclasses.replace(spec, env={"A": "x\n#SBATCH -p y"}), directives=[], prologue=[])
    assert "\n#SBATCH" not in text
    with pytest.raises(OptionError, match="extra="):
        build(dataclasses.replace(spec, setup=["true", "#SBATCH -p y"]), directives=[], prologue=[])


def test_nul_is_refused(spec: JobSpec) -> None:
    with pytest.raises(OptionError, match="NUL"):
        build(dataclasses.replace(spec, command=["a\0b"]), directives=[], prologue=[])


def test_a_command_is_needed(spec: JobSpec) -> None:
    with pytest.raises(OptionError, match="no command"):
        build(dataclasses.replace(spec, command=[]), directives=[], prologue=[])


def test_quoted_leaves_plain_words_readable() -> None:
    assert quoted("/usr/bin/python3") == "/usr/bin/python3"


# ----------------------------------------------------------------------------- order


def test_directives_come_before_every_command(spec: JobSpec) -> None:
    # schedulers stop reading them at the first
    lines = build(spec, directives=["#X 1", "#X 2"], prologue=["first"]).splitlines()
    assert lines[1:3] == ["#X 1", "#X 2"]
    assert lines[0].startswith("#!")


@needs_bash
def test_order(spec: JobSpec, start: Start, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    environment.write_text("echo environment $STEP; export STEP=file\n")
    modules = tmp_path / "init"
    modules.mkdir()
    (modules / "bash").write_text('module() { echo "module $2 $STEP $PWD"; LOADEDMODULES=$2; }\n')
    full = dataclasses.replace(
        spec,
        check_in=["echo check_in $STEP"],
        environment_file=str(environment),
        env={"STEP": "env", "MODULESHOME": str(tmp_path)},
        modules=["m/1"],
        setup=["echo setup $STEP"],
        launcher=["echo", "launcher"],
        command=["command", "x"],
    )
    done = start(full, prologue=["STEP=prologue"])
    assert done.stdout.decode().splitlines() == [
        "check_in prologue", "environment prologue", f"module m/1 env {tmp_path}", "setup env", "launcher command x",
    ]  # fmt: skip


# --------------------------------------------------------------------------- exec, sh


def test_without_lines_of_the_users_it_is_sh(spec: JobSpec) -> None:
    assert interpreter(spec) == "/bin/sh"
    for lines in ({"modules": ["x"]}, {"setup": ["x"]}, {"teardown": ["x"]}):
        theirs: JobSpec = dataclasses.replace(spec, **lines)  # type: ignore[arg-type]
        assert interpreter(theirs) == "/bin/bash"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_takes_the_place_of_the_shell(spec: JobSpec, tmp_path: Path, shell: str) -> None:
    show = [sys.executable, "-c", "import os; print(os.getpid())"]
    path = write(dataclasses.replace(spec, command=show), tmp_path)
    with subprocess.Popen([shell, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == process.pid


def test_exit_status(spec: JobSpec, start: Start) -> None:
    assert start(dataclasses.replace(spec, command=["/bin/sh", "-c", "exit 7"])).returncode == 7


# -------------------------------------------------------------------------- failures


@pytest.mark.parametrize("shell", SHELLS)
def test_missing_directory_ends_the_job(spec: JobSpec, start: Start, shell: str) -> None:
    # Slurm would run it in /tmp
    done = start(dataclasses.replace(spec, cwd="/not/here", command=["echo", "ran"]), shell)
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"cannot enter /not/here" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_missing_environment_file_ends_the_job(spec: JobSpec, start: Start, shell: str) -> None:
    done = start(dataclasses.replace(spec, environment_file="/not/here", command=["echo", "ran"]), shell)
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"cannot read /not/here" in done.stderr


@needs_bash
@pytest.mark.parametrize(
    ("setup", "names"),
    [
        (["false", "true"], "false"),
        (["ls /not/here; true"], "ls /not/here"),
        (["if true; then", "  cat /not/here", "fi", "true"], "cat /not/here"),
        (["f() { true; return 3; }", "f"], "return 3"),
        (["source /not/here"], "source /not/here"),
        (["no_such_command x"], "no_such_command x"),
        (["(exit 4)"], "( exit 4 )"),
    ],
)
def test_failing_setup_ends_the_job(spec: JobSpec, start: Start, setup: list[str], names: str) -> None:
    done = start(dataclasses.replace(spec, setup=setup, command=["echo", "ran"]))
    assert done.returncode != 0
    assert done.stdout == b""
    assert f"not started: in the setup: {names}" in done.stderr.decode()


@needs_bash
def test_setup_that_is_no_shell_ends_the_job(spec: JobSpec, start: Start) -> None:
    for broken in ("echo 'unbalanced", "if true; then", "fi"):
        done = start(dataclasses.replace(spec, setup=[broken], command=["/bin/echo", "ran it's"]))
        assert done.returncode != 0
        assert b"ran" not in done.stdout


@needs_bash
@pytest.mark.parametrize(
    "setup",
    [
        ["false || true", "if false; then true; fi", "! true", "x=$(false) || x=1"],
        ["f() { false; true; }", "f"],  # its own business, as long as it ends well
        ["printf 'false\\ntrue\\n' >lib.sh", "source ./lib.sh"],
        ["cat <<END", "$(echo here) 'document'", "END"],
        ["for i in 1 2; do", "  true", "done"],
        ["set -e", "set -u", "true"],
    ],
)
def test_setup_may_be_any_shell(spec: JobSpec, start: Start, setup: list[str]) -> None:
    done = start(dataclasses.replace(spec, setup=setup, command=["echo", "ran"]))
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, [b"ran"])


@needs_bash
def test_setup_changes_what_the_command_sees(spec: JobSpec, start: Start) -> None:
    done = start(dataclasses.replace(spec, setup=["export A='x y'", "cd /"], command=["/bin/sh", "-c", "echo $A $PWD"]))
    assert done.stdout == b"x y /\n"


# --------------------------------------------------------------------------- modules

LMOD = 'LMOD_VERSION=8\nmodule() { [ "$2" != bad ] || { echo "Lmod has detected an error" >&2; return 1; }; }\n'
MODULES_3 = """\
module() {
    case $2 in
    bad) echo "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'bad'" >&2 ;;
    *) LOADEDMODULES=${LOADEDMODULES:+$LOADEDMODULES:}$2/1.0; export LOADEDMODULES ;;
    esac
}
"""


@needs_bash
@pytest.mark.parametrize("init", [LMOD, MODULES_3], ids=["lmod", "modules-3"])
def test_modules(spec: JobSpec, start: Start, tmp_path: Path, init: str) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "bash").write_text(init)
    env = {"MODULESHOME": str(tmp_path), "LOADEDMODULES": ""}
    run_it = dataclasses.replace(spec, env=env, modules=["good", "good"], command=["echo", "ran"])
    done = start(run_it)
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    done = start(dataclasses.replace(run_it, modules=["good", "bad"]))
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"module load bad" in done.stderr


@needs_bash
def test_module_that_is_defined_already_is_left_alone(spec: JobSpec, start: Start) -> None:
    own = "module() { echo own $*; LOADEDMODULES=$2; }"
    done = start(dataclasses.replace(spec, modules=["a b"], command=["true"]), prologue=[own])
    assert done.stdout == b"own load a b\n"


#: what a site's ``module`` does, into a variable; unknown modules fail unless /my/modules is used
SITE = """\
module() {
    said="$said<$*>"; export said LOADEDMODULES=x LMOD_VERSION=8
    case "$*" in "use /my/modules" | "use "*/mine) own=yes ;; "load mine"*) [ "$own" = yes ] ;; esac
}
ml() { module load "$@"; }
"""


@pytest.fixture
def site(spec: JobSpec, tmp_path: Path) -> JobSpec:
    """A job that says what ``module`` was told, on a site where that is a function."""
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "bash").write_text(SITE)
    return dataclasses.replace(spec, env={"MODULESHOME": str(tmp_path)}, command=["/bin/sh", "-c", 'echo "$said"'])


@needs_bash
@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (["use /my/modules", "mine/12"], "<use /my/modules><load mine/12>"),
        (["purge", "use /my/modules", "mine"], "<purge><use /my/modules><load mine>"),
        (["module purge", "module load gcc openmpi"], "<purge><load gcc><load openmpi>"),
        (["use ~/mine", "mine"], f"<use {os.path.expanduser('~')}/mine><load mine>"),
        (["use $MODULESHOME/mine", "mine"], "<use {home}/mine><load mine>"),
        (["use '/a b'", "swap gcc intel/2023", "unload x"], "<use /a b><swap gcc intel/2023><unload x>"),
        ("purge use /my/modules mine/1 gcc", "<purge><use /my/modules><load mine/1><load gcc>"),
        ("use /my/modules\nmine\nmodule swap gcc intel", "<use /my/modules><load mine><swap gcc intel>"),
        ("gcc/12 openmpi", "<load gcc/12><load openmpi>"),
        (["use", "load"], "<load use><load load>"),
    ],
)
def test_commands_of_module(site: JobSpec, start: Start, tmp_path: Path, modules: Any, said: str) -> None:
    done = start(dataclasses.replace(site, modules=script_parts({"modules": modules})["modules"]))
    assert (done.stdout.decode().strip(), done.returncode) == (said.replace("{home}", str(tmp_path)), 0), done.stderr


@needs_bash
def test_a_command_of_module_that_fails_ends_the_job(site: JobSpec, start: Start) -> None:
    done = start(dataclasses.replace(site, modules=["mine"], command=["echo", "ran"]))
    assert (done.stdout, b"module load mine failed" in done.stderr) == (b"", True)
    failing = dataclasses.replace(site, modules=["use /x"], command=["echo", "ran"])
    done = start(failing, prologue=["module() { return 3; }"])
    assert (done.returncode, done.stdout, b"module use /x failed" in done.stderr) == (3, b"", True)


@needs_bash
@pytest.mark.parametrize(
    "setup",
    [
        ["module use /my/modules", "module load mine"],
        ["module purge", "module use /my/modules; ml mine"],
        ["printf 'module use /my/modules\\nmodule load mine\\n' >site.sh", ". ./site.sh"],
        ["printf 'module use /my/modules\\nml mine\\n' >site.sh", "source ./site.sh"],
    ],
)
def test_module_is_there_in_the_setup(site: JobSpec, start: Start, setup: list[str]) -> None:
    done = start(dataclasses.replace(site, setup=setup))
    assert done.stdout.decode().strip().endswith("<use /my/modules><load mine>"), done.stderr
    done = start(dataclasses.replace(site, setup=["module load mine"]))
    assert (done.stdout, b"in the setup" in done.stderr) == (b"", True)


@needs_bash
@pytest.mark.skipif(Path("/etc/profile.d/modules.sh").exists(), reason="this machine has modules")
def test_no_modules_here(spec: JobSpec, start: Start) -> None:
    done = start(dataclasses.replace(spec, env={"MODULESHOME": "/not/here"}, modules=["a"], command=["echo", "ran"]))
    assert done.returncode != 0
    assert b"ran" not in done.stdout
    assert b"module load a failed" in done.stderr


# -------------------------------------------------------------------------- teardown


@needs_bash
@pytest.mark.parametrize("status", [0, 3])
def test_teardown_runs_after_the_command_and_keeps_its_status(spec: JobSpec, start: Start, status: int) -> None:
    command = ["/bin/sh", "-c", f"echo ran; exit {status}"]
    teardown = ["# only a comment first", "false", "if true; then", "echo $A", "fi"]
    done = start(dataclasses.replace(spec, setup=["A=torn", "set -eu"], teardown=teardown, command=command))
    assert (done.returncode, done.stdout) == (status, b"ran\ntorn\n")


@needs_bash
def test_a_command_killed_by_a_signal(spec: JobSpec, start: Start) -> None:
    done = start(dataclasses.replace(spec, teardown=["echo torn"], command=["/bin/sh", "-c", "kill -9 $$"]))
    assert (done.returncode, done.stdout) == (137, b"torn\n")


TRAPPING = """
import signal, sys, time
def stop(number, frame):
    print("got", number, flush=True)
    time.sleep(0.2)
    print("stopped", flush=True)
    sys.exit(5)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, stop)
print("up", flush=True)
time.sleep(60)
"""


@needs_bash
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_passed_on_and_waited_for(spec: JobSpec, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", TRAPPING]
    path = write(dataclasses.replace(spec, command=command, teardown=["echo torn"]), tmp_path)
    with subprocess.Popen([str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)  # to the shell alone, as `scancel --batch` does
        assert process.stdout.read() == f"got {int(number)}\nstopped\ntorn\n"
    assert process.returncode == 5


@needs_bash
def test_python_under_a_teardown_can_be_interrupted(spec: JobSpec, start: Start) -> None:
    # bash starts what it puts into the background with SIGINT ignored
    show = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = start(dataclasses.replace(spec, teardown=["true"], command=[sys.executable, "-c", show]))
    assert done.stdout == b"True\n"


@needs_bash
def test_the_shell_stays_while_the_command_finishes(spec: JobSpec, tmp_path: Path) -> None:
    # the step is over, and what still runs is orphaned, when the script itself ends
    path = write(dataclasses.replace(spec, command=[sys.executable, "-c", TRAPPING], teardown=["true"]), tmp_path)
    with subprocess.Popen([str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        lines = []
        limit = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < limit:
            lines.append(process.stdout.readline())
    assert "stopped\n" in lines
