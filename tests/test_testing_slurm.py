"""The stand-in for Slurm answers as the real 22.05.8 was seen to."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scheduler_programs import a_place_of_its_own, until

from clusterfutures.testing import FakeSlurm
from clusterfutures.testing.pytest_plugin import fake_slurm as fake_slurm  # also where it is not installed

ROW = "%F|%K|%A|%T|%N|%S|%e|%L|%r"
SLEEP = "#!/bin/sh\nexec sleep 60\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    a_place_of_its_own(tmp_path, monkeypatch)
    with FakeSlurm(cpus=4, kill_delay=0.3, minute=1.0) as standin:
        yield standin
        assert standin.errors() == ""


def submit(slurm: FakeSlurm, *words: str, text: str = "", **env: str) -> str:
    done = slurm.run("sbatch", "--parsable", *words, text=text, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout[:-1]


def squeue(slurm: FakeSlurm, *words: str, form: str = "%i %T") -> list[str]:
    done = slurm.run("squeue", "-h", "-t", "all", *words, "-o", form)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def show(slurm: FakeSlurm, name: str, *fields: str) -> tuple[str, ...]:
    line = slurm.run("scontrol", "-o", "show", "job", name).stdout
    found = dict(word.split("=", 1) for word in line.split() if "=" in word)
    return tuple(found.get(field, "") for field in fields)


def end(slurm: FakeSlurm, name: str) -> tuple[str, ...]:
    until(lambda: show(slurm, name, "JobState")[0] not in ("PENDING", "RUNNING", "COMPLETING"))
    return show(slurm, name, "JobState", "Reason", "ExitCode")


def say_up(slurm: FakeSlurm, name: str) -> None:
    """Wait until a job says that it has set its traps."""
    log = Path(f"slurm-{name}.out")
    until(lambda: log.exists() and log.read_text() == "up\n")


def test_ids(slurm: FakeSlurm) -> None:
    done = slurm.run("sbatch", "ok.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Submitted batch job 1\n", "")
    assert slurm.run("sbatch", "--parsable", "ok.sh").stdout == "2\n"
    assert slurm.run("sbatch", "--parsable", "-M", "cluster", "ok.sh").stdout == "3;cluster\n"
    assert submit(slurm, "--array=3-7:2", "ok.sh") == "4"
    slurm.wait()
    assert squeue(slurm, "-r", "-j", "4", form="%i %F %K %A") == ["4_3 4 3 5", "4_5 4 5 6", "4_7 4 7 4"]
    assert Path("slurm-1.out").read_text() == "hello\n"
    assert Path("slurm-4_5.out").read_text() == "hello\n"
    assert slurm.run("sbatch", "--version").stdout == "slurm 22.05.8\n"


@pytest.mark.parametrize(
    ("words", "code", "lines"),
    [
        (
            ["-p", "nosuch", "ok.sh"],
            1,
            [
                "invalid partition specified: nosuch",
                "Batch job submission failed: Invalid partition name specified",
            ],
        ),
        (["-t", "abc", "ok.sh"], 255, ["Invalid --time specification"]),
        (["-t", "1:2:3:4", "ok.sh"], 255, ["Invalid --time specification"]),
        (
            ["--mem=100000", "ok.sh"],
            1,
            [
                "Memory specification can not be satisfied",
                "Batch job submission failed: Requested node configuration is not available",
            ],
        ),
        (["--mem=12zz", "ok.sh"], 255, ["Invalid --mem specification"]),
        (["--mem=1.5G", "ok.sh"], 255, ["Invalid --mem specification"]),
        (["-c", "x", "ok.sh"], 1, ['Invalid numeric value "x" for --cpus-per-task.']),
        (["-w", "nosuchnode", "ok.sh"], 1, ["Batch job submission failed: Invalid node name specified"]),
        (["-C", "nosuch", "ok.sh"], 1, ["Batch job submission failed: Invalid feature specification"]),
        (
            ["--gres=gpu:1", "ok.sh"],
            1,
            ["Batch job submission failed: Invalid generic resource (gres) specification"],
        ),
        (["--license=foo:1", "ok.sh"], 1, ["Batch job submission failed: Invalid license specification"]),
        *(
            ([f"--array={text}", "ok.sh"], 1, ["Batch job submission failed: Invalid job array specification"])
            for text in ("abc", "3-1", "0-3:0", "-1", "1001")
        ),
        (["-d", "nonsense", "ok.sh"], 1, ["Batch job submission failed: Job dependency problem"]),
        (["--signal=USR9@10", "ok.sh"], 255, ["Invalid --signal specification"]),
        (["nosuchfile.sh"], 1, ["Unable to open file nosuchfile.sh"]),
        (
            ["plain.sh"],
            1,
            [
                "This does not look like a batch script.  The first",
                "line must start with #! followed by the path to an interpreter.",
                "For instance: #!/bin/sh",
            ],
        ),
        (["empty.sh"], 1, ["Batch script is empty!"]),
        (["--wrap", "true", "ok.sh"], 1, ["Script arguments not permitted with --wrap option"]),
        (["words.sh"], 255, ["Invalid directive found in batch script: b"]),
        (
            ["-J", "x" * 1025, "ok.sh"],
            1,
            ["Batch job submission failed: Pathname of a file, directory or other parameter too long"],
        ),
    ],
)
def test_what_sbatch_refuses(slurm: FakeSlurm, words: list[str], code: int, lines: list[str]) -> None:
    Path("plain.sh").write_text("echo\n")
    Path("empty.sh").write_text("")
    Path("words.sh").write_text("#!/bin/sh\n#SBATCH -J a b\n")
    done = slurm.run("sbatch", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "".join(f"sbatch: error: {line}\n" for line in lines)


def test_other_refusals(slurm: FakeSlurm) -> None:
    done = slurm.run("sbatch", "--nosuch", "ok.sh")
    assert (done.returncode, done.stderr) == (
        255,
        "sbatch: unrecognized option '--nosuch'\nTry \"sbatch --help\" for more information\n",
    )
    done = slurm.run("sbatch", "--begin=garbage", "ok.sh")
    assert (done.returncode, done.stderr) == (
        255,
        "Invalid time specification (pos=0): garbage\nsbatch: error: Invalid --begin specification\n",
    )
    Path("crlf.sh").write_bytes(b"#!/bin/sh\r\ntrue\r\n")
    done = slurm.run("sbatch", "crlf.sh")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        r"sbatch: error: Batch script contains DOS line breaks (\r\n)",
    )
    Path("dq.sh").write_text('#!/bin/sh\n#SBATCH -J="unbalanced\n')
    done = slurm.run("sbatch", "dq.sh")
    assert (done.returncode, done.stderr) == (1, 'sbatch: fatal: dq.sh: line 2: Unmatched `"` in ["unbalanced]\n')
    done = slurm.run("sbatch", "--test-only", "ok.sh")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(" using 1 processors on nodes c1 in partition main\n")


def test_what_is_accepted(slurm: FakeSlurm) -> None:
    for words in (["-c", "64"], ["-n", "64"], ["-N", "9"]):
        name = submit(slurm, *words, "ok.sh")
        assert show(slurm, name, "JobState", "Reason") == ("PENDING", "PartitionConfig")
    assert submit(slurm, "--array=", "ok.sh")
    one = submit(slurm, "--array=5", "ok.sh")
    twice = submit(slurm, "--array=1,1,2%0", "ok.sh")
    assert submit(slurm, "-t", "0", "--qos=nosuch", "-A", "nosuch", "-d", "afterok:99999", "ok.sh")
    odd = "a b|c,d;/%\\$\"'\n"
    name = submit(slurm, "-J", odd, "-o", "odd.out", "ok.sh")
    last = submit(slurm, "--array=1000", "-o", "x.%a", "ok.sh")
    until(lambda: Path("x.1000").exists())
    until(lambda: squeue(slurm, "-j", one) == [f"{one}_5 COMPLETED"])
    assert [line.split()[0] for line in squeue(slurm, "-j", twice)] == [f"{twice}_1", f"{twice}_2"]
    assert slurm.run("squeue", "-h", "-t", "all", "-j", name, "-o", "%j").stdout == odd + "\n"
    assert last


def test_environment(slurm: FakeSlurm) -> None:
    (Path() / "env.sh").write_text('#!/bin/sh\nenv -0 > "env.$SLURM_JOB_ID"; pwd; umask; echo "$@" "$#"\n')
    before = os.umask(0o027)
    try:
        name = submit(slurm, "env.sh", "a b", "", "c", MINE='x,"y"\n')
    finally:
        os.umask(before)
    bare = submit(slurm, "--export=NONE", "-c", "2", "-n", "2", "--mem=100", "env.sh", MINE="1", LANG="de")
    some = submit(slurm, "--export=FOO=bar,MINE", "env.sh", MINE="a,b")
    more = submit(slurm, "--export=ALL,FOO=bar baz,B=1,2,F=x=y,G=$HOME,H=", "-a", "3-7:2", "env.sh")
    slurm.wait()
    assert Path(f"slurm-{name}.out").read_text() == f"{os.getcwd()}\n0027\na b  c 3\n"

    def read(number: str) -> dict[str, str]:
        return dict(item.split("=", 1) for item in Path(f"env.{number}").read_text().split("\0") if item)

    env = read(name)
    assert env["MINE"] == 'x,"y"\n'
    for key, value in {
        "ENVIRONMENT": "BATCH", "SLURMD_NODENAME": "c1", "SLURM_JOBID": name, "SLURM_JOB_ID": name,
        "SLURM_CPUS_ON_NODE": "1", "SLURM_JOB_NAME": "env.sh", "SLURM_JOB_NODELIST": "c1", "SLURM_NNODES": "1",
        "SLURM_SUBMIT_DIR": os.getcwd(), "SLURM_JOB_PARTITION": "main", "TMPDIR": "/tmp",
    }.items():  # fmt: skip
        assert env[key] == value
    unwanted = {
        "SLURM_CPUS_PER_TASK", "SLURM_NTASKS", "SLURM_MEM_PER_NODE", "SLURM_JOB_END_TIME", "SLURM_RESTART_COUNT",
        "SLURM_ARRAY_JOB_ID",
    }  # fmt: skip
    assert not unwanted & set(env)
    env = read(bare)
    assert not {"LANG", "MINE"} & set(env)
    assert (env["SLURM_EXPORT_ENV"], env["SLURM_CPUS_PER_TASK"], env["SLURM_NTASKS"]) == ("NONE", "2", "2")
    assert (env["SLURM_MEM_PER_NODE"], env["SLURM_JOB_CPUS_PER_NODE"]) == ("100", "4")
    env = read(some)
    assert (env["FOO"], env["MINE"], "LANG" in env) == ("bar", "a,b", False)
    env = read(more)  # the last element has the number of the array
    assert [env[key] for key in "BFGH"] == ["1", "x=y", "$HOME", ""]
    keys = ("JOB_ID", "TASK_ID", "TASK_COUNT", "TASK_MIN", "TASK_MAX", "TASK_STEP")
    assert [env[f"SLURM_ARRAY_{key}"] for key in keys] == [more, "7", "3", "3", "7", "2"]


def test_options_from_script_and_variables(slurm: FakeSlurm) -> None:
    script = (
        '#!/bin/sh\n# text\n#SBATCH --job-name="quoted name" # why\n#SBATCH\t-t 7\n ##SBATCH -J no\n'
        "##SBATCH -J no\ntrue\n#SBATCH -J late\n"
    )
    Path("d.sh").write_text(script)
    name = submit(slurm, "-H", "d.sh")
    assert squeue(slurm, "-j", name, form="%j|%l|%T|%r") == ["quoted name|7:00|PENDING|JobHeldUser"]
    name = submit(slurm, "-H", "d.sh", SBATCH_TIMELIMIT="9", SBATCH_JOB_NAME="env")
    assert squeue(slurm, "-j", name, form="%j|%l") == ["env|9:00"]
    name = submit(slurm, "-H", "-J", "mine", "d.sh", SBATCH_TIMELIMIT="9", SBATCH_JOB_NAME="env")
    assert squeue(slurm, "-j", name, form="%j|%l") == ["mine|9:00"]
    name = submit(slurm, "-H", "ok.sh", SBATCH_ARRAY_INX="0-1")
    assert squeue(slurm, "-j", name, form="%i") == [f"{name}_[0-1]"]


def test_output_names(slurm: FakeSlurm) -> None:
    Path("sub").mkdir()
    script = "#!/bin/sh\necho out; echo err >&2\n"
    names = {
        "a b,c.%j": "a b,c.1",
        "%%x": "%x",
        "%q": "%q",
        "%5j": "00004",
        "back\\slash": "backslash",
        "off\\%j": "off%j",
        "sub/%x-%A-%u": None,
    }
    for pattern in names:
        submit(slurm, "-J", "n", "-o", pattern, text=script)
    both = submit(slurm, "-o", "o.%4a", "-e", "e.%a", "-a", "2", text=script)
    slurm.wait()
    for name in names.values():
        if name:
            assert Path(name).read_text() == "out\nerr\n"
    assert next(Path("sub").iterdir()).name.startswith("n-7-")
    assert (Path("o.0002").read_text(), Path("e.2").read_text()) == ("out\n", "err\n")
    assert both
    Path("log").write_text("old\n")
    submit(slurm, "-o", "log", "--open-mode=append", "ok.sh")
    slurm.wait()
    assert Path("log").read_text() == "old\nhello\n"
    lost = submit(slurm, "-o", "missing/log", "ok.sh")
    assert end(slurm, lost) == ("FAILED", "JobLaunchFailure", "0:53")
    away = submit(slurm, "-D", "/no/such", "-o", f"{os.getcwd()}/away", text="#!/bin/sh\npwd\n")
    assert end(slurm, away)[0] == "COMPLETED"
    line = "slurmstepd-c1: error: couldn't chdir to `/no/such': No such file or directory: going to /tmp instead\n"
    assert Path("away").read_text() == line * 2 + "/tmp\n"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("#!/bin/sh\nexit 0\n", ("COMPLETED", "None", "0:0")),
        ("#!/bin/sh\nexit 3\n", ("FAILED", "NonZeroExitCode", "3:0")),
        ("#!/bin/sh\nexit 200\n", ("FAILED", "NonZeroExitCode", "200:0")),
        ("#!/bin/sh\nsh -c 'kill -SEGV $$'\nexit $?\n", ("FAILED", "NonZeroExitCode", "139:0")),
        ("#!/bin/sh\nkill -9 $$\n", ("FAILED", "JobLaunchFailure", "0:9")),
        ("#!/bin/sh\n/no/such/command\n", ("FAILED", "NonZeroExitCode", "127:0")),
        ("#!/no/such/python3\n", ("FAILED", "NonZeroExitCode", "2:0")),
    ],
)
def test_how_scripts_end(slurm: FakeSlurm, script: str, found: tuple[str, ...]) -> None:
    name = submit(slurm, text=script)
    assert end(slurm, name) == found
    if "python3" in script:
        line = "slurmstepd-c1: error: execve(): bad interpreter(/no/such/python3): No such file or directory\n"
        assert Path(f"slurm-{name}.out").read_text() == line


def test_how_other_jobs_end(slurm: FakeSlurm) -> None:
    cancelled, limit, memory = (submit(slurm, *words, "sleep.sh") for words in ((), ("-t", "1"), ()))
    clean = submit(slurm, text="#!/bin/sh\ntrap 'exit 0' TERM\necho up\nsleep 60 & wait\n")
    held = submit(slurm, "-H", "ok.sh")
    until(lambda: [show(slurm, name, "JobState")[0] for name in (cancelled, memory, clean)] == ["RUNNING"] * 3)
    assert show(slurm, cancelled, "BatchHost", "Restarts") == ("c1", "0")
    say_up(slurm, clean)
    done = slurm.run("scancel", cancelled, clean, held, "99999")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    slurm.out_of_memory(memory)
    assert end(slurm, cancelled) == ("CANCELLED", "None", "0:15")
    assert end(slurm, clean) == ("CANCELLED", "None", "0:0")
    assert end(slurm, held) == ("CANCELLED", "JobHeldUser", "0:0")
    assert end(slurm, memory) == ("OUT_OF_MEMORY", "OutOfMemory", "0:125")
    assert end(slurm, limit) == ("TIMEOUT", "TimeLimit", "0:15")
    assert " ON c1 CANCELLED AT " in Path(f"slurm-{cancelled}.out").read_text()
    assert Path(f"slurm-{limit}.out").read_text().endswith(" DUE TO TIME LIMIT ***\n")
    slurm.configure(oom_state="FAILED")
    assert show(slurm, memory, "JobState", "Reason", "ExitCode") == ("FAILED", "JobLaunchFailure", "0:9")


def test_completing(slurm: FakeSlurm) -> None:
    slurm.configure(kill_delay=3.0)
    name = submit(slurm, text="#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 0.1; done\n")
    say_up(slurm, name)
    slurm.run("scancel", name)
    assert squeue(slurm, "-j", name) == [f"{name} COMPLETING"]
    assert end(slurm, name) == ("CANCELLED", "None", "0:9")


def test_squeue(slurm: FakeSlurm) -> None:
    done = submit(slurm, "ok.sh")
    slurm.wait()
    running = submit(slurm, "-t", "100", "-J", "r", "sleep.sh")
    array = submit(slurm, "-a", "0-60:2%1", "-J", "a", "sleep.sh")
    until(lambda: len(squeue(slurm, "-t", "RUNNING")) == 2)
    user = squeue(slurm, "-j", running, form="%u")[0]
    assert squeue(slurm, "-u", user, "-r", "-j", running, form=ROW)[0].startswith(
        f"{running}|N/A|{running}|RUNNING|c1|"
    )
    rows = squeue(slurm, "-j", array, "-r", form=ROW)
    assert len(rows) == 31
    assert rows[1] == f"{array}|2|{array}|PENDING||N/A|N/A|UNLIMITED|JobArrayTaskLimit"
    together = squeue(slurm, "-j", array, "-t", "PD", form="%K %i")[0]
    assert together.split()[0].endswith("...")
    assert len(together.split()[1]) == 64
    whole = slurm.run("squeue", "-h", "-j", array, "-t", "PD", "-o", "%i", env={"SLURM_BITSTR_LEN": "0"}).stdout
    assert whole == f"{array}_[{','.join(str(n) for n in range(2, 61, 2))}%1]\n"
    assert slurm.run("squeue", "-h", "-o", "%i", "-n", "r").stdout == f"{running}\n"
    assert slurm.run("squeue", "--me", "-h", "-t", "R", "-o", "%j").stdout == "r\na\n"
    header = slurm.run("squeue").stdout.splitlines()[0]
    assert header == "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)"
    for words, code, out, err in (
        (["-j", done], 0, "", ""),
        (["-j", "99999"], 1, "", "slurm_load_jobs error: Invalid job id specified\n"),
        (["-j", f"99999,{running}"], 0, f"{running}\n", ""),
        (["-j", f"{array}_77"], 0, "", ""),
        (["-j", "abc"], 1, "", "squeue: error: Invalid job id: abc\n"),
        (["-u", "nosuchuser"], 0, "", "squeue: error: Invalid user: nosuchuser\n"),
        (["-r", "-t", "all", "-j", f"{array}_[0-3,8]"], 0, f"{array}_0\n", ""),
    ):
        found = slurm.run("squeue", "-h", "-o", "%i", *words)
        assert (found.returncode, found.stdout, found.stderr) == (code, out, err)
    found = slurm.run("squeue", "-t", "bogus")
    assert (found.returncode, "Invalid job state specified: bogus" in found.stderr) == (1, True)


def test_scontrol(slurm: FakeSlurm) -> None:
    name = submit(slurm, "-a", "0-1", "exit.sh", R="4")
    slurm.wait()
    line = slurm.run("scontrol", "-o", "show", "job", f"{name}_0").stdout
    assert line.startswith(f"JobId=2 ArrayJobId={name} ArrayTaskId=0 JobName=exit.sh ")
    assert line.count("\n") == 1
    assert slurm.run("scontrol", "-o", "show", "job", name).stdout.count("\n") == 2
    for words, code, out, err in (
        (["show", "job", "99999"], 1, "", "slurm_load_jobs error: Invalid job id specified\n"),
        (["show", "job", f"{name}_7"], 1, f"Job {name}_7 not found\n", ""),
        (["show", "job", "1,2"], 1, "", "scontrol_print_job error: Invalid job id specified\n"),
        (["ping"], 0, "Slurmctld(primary) at c1 is UP\n", ""),
    ):
        found = slurm.run("scontrol", *words)
        assert (found.returncode, found.stdout, found.stderr) == (code, out, err)
    config = slurm.run("scontrol", "show", "config").stdout
    assert "MaxArraySize            = 1001\n" in config
    assert "main*" in slurm.run("sinfo").stdout


def test_scancel(slurm: FakeSlurm) -> None:
    array = submit(slurm, "-a", "0-9%2", "-J", "a", "sleep.sh")
    until(lambda: len(squeue(slurm, "-t", "R")) == 2)
    for words, code, text in (
        (["99999"], 0, ""),
        ([f"{array}_77"], 0, ""),
        (["-n", "nosuch"], 0, ""),
        ([], 1, "scancel: error: No job identification provided\n"),
        (["abc"], 1, "scancel: error: Invalid job id abc\n"),
    ):
        done = slurm.run("scancel", *words)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", text)
    assert slurm.run("scancel", f"{array}_9", f"{array}_[7-8]").returncode == 0
    assert squeue(slurm, "-j", array, "-t", "PD", form="%K") == ["2-6%2"]  # no trace of 7, 8 and 9
    done = slurm.run("scontrol", "show", "job", f"{array}_9")
    assert (done.returncode, done.stdout) == (1, f"Job {array}_9 not found\n")
    script = "#!/bin/sh\ntrap 'echo got' USR1\necho up\nwhile :; do sleep 0.05; done\n"
    deaf = submit(slurm, "-J", "b", text=script)
    say_up(slurm, deaf)
    slurm.run("scancel", "--signal=USR1", deaf)  # reaches steps only: there are none
    time.sleep(0.2)
    assert Path(f"slurm-{deaf}.out").read_text() == "up\n"
    slurm.run("scancel", "--batch", "--signal=USR1", deaf)
    until(lambda: Path(f"slurm-{deaf}.out").read_text() == "up\ngot\n")
    slurm.run("scancel", "-n", "a,b")
    slurm.wait()
    assert squeue(slurm, "-j", array) == [f"{array}_[2-6%2] CANCELLED", f"{array}_0 CANCELLED", f"{array}_1 CANCELLED"]


def test_requeue(slurm: FakeSlurm) -> None:
    script = "#!/bin/sh\necho run$SLURM_RESTART_COUNT\nexec sleep 60\n"
    name = submit(slurm, "--open-mode=append", text=script)
    log = Path(f"slurm-{name}.out")
    until(lambda: "run" in (log.read_text() if log.exists() else ""))
    slurm.configure(requeue_delay=3.0)
    slurm.preempt(name)
    until(lambda: show(slurm, name, "JobState", "Reason", "Restarts") == ("PENDING", "BeginTime", "1"))
    until(lambda: "run1" in log.read_text())
    assert "DUE TO PREEMPTION ***" in log.read_text()
    slurm.configure(requeue_delay=0.1)
    slurm.kill_node(name)
    until(lambda: "run2" in log.read_text())
    assert slurm.run("scontrol", "requeuehold", name).returncode == 0
    until(lambda: squeue(slurm, form="%T %r") == ["PENDING job requeued in held state"])
    assert slurm.run("scontrol", "release", name).returncode == 0
    until(lambda: "run3" in log.read_text())
    slurm.run("scancel", name)
    assert end(slurm, name)[0] == "CANCELLED"
    assert slurm.run("scontrol", "requeue", name).returncode == 0  # final states are not final
    until(lambda: "run4" in log.read_text())


def test_not_requeueable(slurm: FakeSlurm) -> None:
    lost, out = (submit(slurm, "--no-requeue", "sleep.sh") for _ in range(2))
    until(lambda: len(squeue(slurm, "-t", "R")) == 2)
    done = slurm.run("scontrol", "requeue", lost)
    assert (done.returncode, done.stderr) == (1, f"Requested operation is presently disabled for job {lost}\n")
    slurm.kill_node(lost)
    slurm.preempt(out)
    assert end(slurm, lost) == ("NODE_FAIL", "NodeDown", "0:0")
    assert end(slurm, out) == ("PREEMPTED", "None", "15:0")


def test_dependencies(slurm: FakeSlurm) -> None:
    good, bad = submit(slurm, "-H", "ok.sh"), submit(slurm, "-H", "exit.sh", R="1")
    array = submit(slurm, "-H", "-a", "0-1", "ok.sh")
    ran = submit(slurm, "-d", f"afterok:{good},afterany:{bad}:{array}_0", "ok.sh")
    never = submit(slurm, "-d", f"afterok:{bad}", "ok.sh")
    killed = submit(slurm, "-d", f"afterok:{bad}", "--kill-on-invalid-dep=yes", "ok.sh")
    assert show(slurm, ran, "JobState", "Reason") == ("PENDING", "Dependency")
    for name in (good, bad, array):
        slurm.run("scontrol", "release", name)
    assert end(slurm, ran)[0] == "COMPLETED"
    assert end(slurm, killed) == ("CANCELLED", "DependencyNeverSatisfied", "0:0")
    assert show(slurm, never, "JobState", "Reason") == ("PENDING", "DependencyNeverSatisfied")
    assert end(slurm, submit(slurm, "-d", "afterok:99999", "ok.sh"))[0] == "COMPLETED"


def test_purge(slurm: FakeSlurm) -> None:
    slurm.configure(min_job_age=0.5)
    name = submit(slurm, "ok.sh")
    until(lambda: slurm.run("squeue", "-j", name).returncode == 1)
    assert slurm.run("scontrol", "show", "job", name).returncode == 1


def test_accounting(slurm: FakeSlurm) -> None:
    done = slurm.run("sacct", "-X")
    assert (done.returncode, done.stderr) == (1, "Slurm accounting storage is disabled\n")
    slurm.configure(accounting=True, min_job_age=0.0)
    codes = [submit(slurm, "exit.sh", R=code) for code in ("0", "3", "200", "139", "127")]
    running = submit(slurm, "sleep.sh")
    until(lambda: squeue(slurm) == [f"{running} RUNNING"])
    slurm.run("scancel", running)
    slurm.wait()
    assert squeue(slurm) == []
    words = ["sacct", "-X", "-n", "-P", "-o", "JobIDRaw,State,ExitCode,Reason", "-j", ",".join([*codes, running, "99"])]
    rows = slurm.run(*words).stdout.splitlines()
    assert rows == [
        "1|COMPLETED|0:0|None", "2|FAILED|3:0|None", "3|FAILED|72:0|None", "4|FAILED|11:0|None",
        "5|FAILED|127:0|None", f"6|CANCELLED by {os.getuid()}|0:0|None",
    ]  # fmt: skip
    rows = slurm.run("sacct", "-n", "-P", "-o", "JobID,State,ExitCode", "-j", running).stdout.splitlines()
    assert rows == [f"6|CANCELLED by {os.getuid()}|0:0", "6.batch|CANCELLED|0:15"]
    assert "CANCELLED+" in slurm.run("sacct").stdout
    for words, text in (
        (["-j", "abc"], "sacct: fatal: Bad job/step specified: abc\n"),
        (["-o", "NoField"], 'Invalid field requested: "NoField"\n'),
    ):
        done = slurm.run("sacct", *words)
        assert (done.returncode, done.stderr) == (1, text)
    assert slurm.run("sacct", "-n", "-j", "99").stdout == ""


def test_waiting_and_warnings(slurm: FakeSlurm) -> None:
    done = slurm.run("sbatch", "--wait", "exit.sh", env={"R": "3"})
    assert (done.returncode, done.stdout) == (3, "Submitted batch job 1\n")
    script = "#!/bin/sh\ntrap 'echo warned; exit 0' USR1\nwhile :; do sleep 0.05; done\n"
    name = submit(slurm, "-t", "5", "--signal=B:USR1@180", text=script)  # a minute lasts a second here
    assert end(slurm, name)[0] == "COMPLETED"
    assert Path(f"slurm-{name}.out").read_text() == "warned\n"
    name = submit(slurm, "--begin=now+4", "ok.sh")
    assert show(slurm, name, "JobState", "Reason") == ("PENDING", "BeginTime")
    assert end(slurm, name)[0] == "COMPLETED"


# -- faults ------------------------------------------------------------------------------


def test_limits_and_failures(slurm: FakeSlurm) -> None:
    slurm.submit_limit(2)
    done = slurm.run("sbatch", "-a", "0-2", "ok.sh")
    assert (done.returncode, done.stderr) == (
        1,
        "sbatch: error: AssocMaxSubmitJobLimit\n"
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
        "(job submit limit, user's size and/or time limits)\n",
    )
    slurm.submit_limit(None)
    slurm.fail_next("sbatch", text="sbatch: error: no", code=7)
    assert slurm.run("sbatch", "ok.sh").returncode == 7
    assert slurm.run("sbatch", "ok.sh").returncode == 0
    assert slurm.calls("sbatch") == 3
    slurm.banner("Welcome!")
    assert slurm.run("sbatch", "ok.sh").stdout == "Welcome!\nSubmitted batch job 2\n"


def test_accepted_without_an_answer(slurm: FakeSlurm) -> None:
    slurm.accept_but_time_out(1)
    with subprocess.Popen(["sbatch", "-J", "unique", "ok.sh"], stdout=subprocess.PIPE) as silent:
        until(lambda: squeue(slurm, "-n", "unique", form="%i") == ["1"])
        assert silent.poll() is None, "it waits for an answer"
        silent.kill()
        assert silent.communicate()[0] == b""
    slurm.accept_but_time_out(1, seconds=0.1)
    done = slurm.run("sbatch", "-J", "unique", "ok.sh")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n",
    )
    assert squeue(slurm, "-n", "unique", form="%i") == ["1", "2"]


def test_down(slurm: FakeSlurm) -> None:
    slurm.down()
    lost = "Unable to contact slurm controller (connect failure)\n"
    for words, code, text in (
        (["sbatch", "ok.sh"], 1, "sbatch: error: Batch job submission failed: " + lost),
        (["squeue", "--me"], 1, "slurm_load_jobs error: " + lost),
        (["scontrol", "show", "job", "1"], 1, "slurm_load_jobs error: " + lost),
        (["scancel", "495"], 8, "scancel: error: Kill job error on job id 495: " + lost),
        (["scontrol", "requeue", "495"], 1, "Unexpected message received for job 495\n"),
    ):
        done = slurm.run(*words)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", text)
    slurm.up()
    assert slurm.run("sbatch", "ok.sh").returncode == 0


def test_forget_and_hold(slurm: FakeSlurm) -> None:
    name = submit(slurm, "sleep.sh")
    blocked = submit(slurm, "--begin=now+60", "ok.sh")
    until(lambda: show(slurm, name, "JobState") == ("RUNNING",))
    slurm.hold(blocked)
    assert show(slurm, blocked, "Reason") == ("JobHeldUser",)
    slurm.forget(name)
    assert slurm.run("squeue", "-j", name).returncode == 1
    with pytest.raises(ValueError, match="no such job: 99"):
        slurm.hold("99")


def test_a_job_may_submit(slurm: FakeSlurm) -> None:
    submit(slurm, text="#!/bin/sh\nsbatch --parsable ok.sh\nenv | grep -c SLURM_JOB_ID\n")
    until(lambda: len(squeue(slurm)) == 2)
    slurm.wait()
    assert Path("slurm-1.out").read_text() == "2\n1\n"


def test_fixture(fake_slurm: FakeSlurm) -> None:
    assert fake_slurm.run("squeue", "-h").stdout == ""
    assert os.environ["CLUSTERFUTURES_STANDIN"] == str(fake_slurm.directory)
