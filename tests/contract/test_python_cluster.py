"""What python-cluster's documentation promises: its examples, and each of its keywords.

Names are ours where the table of docs/coming-from/python-cluster.md says so.  Real Slurm and this machine run
them; what is asked of both kinds of PBS is compared with what their commands have understood.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from contract_tasks import wait_until

from clusterfutures import (
    Job,
    OptionError,
    Queue,
    SubmitError,
    clean,
    clean_dir,
    config,
    make_job_file,
    option_help,
    submit_array,
    submit_file,
)
from clusterfutures import submit as submit_anywhere
from clusterfutures.options.table import KEYWORDS
from clusterfutures.schedulers import find_scheduler
from clusterfutures.schedulers.job_state import JobState
from tests.conftest import Ground, SlurmGround, StandInGround

RUNS = pytest.mark.on("local", "slurm")

#: keywords of its page and of fyrd's, with their synonyms, and one value each
THEIRS = {
    "depends depend dependency dependencies": "12", "cores cpus threads": 2, "modules": ["gcc/12", "mpi"],
    "filedir filepath scriptdir scriptpath path": "jobs", "dir runpath": "elsewhere", "suffix": "trial",
    "outfile stdout": "told", "errfile stderr": "complained", "imports": ["from os import path", "sys"],
    "syspaths syspath paths": ["lib"], "nodes": 2, "features": ["ssd", "ib"], "time walltime": "01:30:00",
    "mem memory": "20MB", "partition queue": "short", "account": "lab", "qos": "high", "export": "A,B=2",
    "begin": "2031-05-01T18:00", "outpath": "results",
    "clean_files delete_files cleanfiles delfiles": True,
    "clean_outputs delete_outputs cleanouts delouts deloutputs cleanoutputs": True,
}  # fmt: skip


def where(ground: Ground) -> dict[str, Any]:
    return {"scheduler": {"torque": "pbs"}.get(ground.name, ground.name), "directory": str(ground.work / "jobs")}


# ------------------------------------------------------------------------------ examples


@RUNS
def test_simple_submission_with_dependencies(ground: Ground) -> None:
    job = submit_anywhere("echo one >shared", **where(ground))
    job2 = submit_anywhere("cat shared; echo warned >&2", dependencies=job, **where(ground))
    exitcode, stdout, stderr = job2.get(40)
    assert (exitcode, stdout, stderr) == (0, "one\n", "warned\n")
    assert sorted(clean_dir(str(ground.work / "jobs"), confirm=False)) == sorted([job.path, job2.path])


@RUNS
def test_a_file_that_depends_on_numbers(ground: Ground) -> None:
    (ground.work / "script").write_text("#!/bin/sh\necho from a file, $1\n")
    seven, nine = (int(submit_anywhere("true", **where(ground)).id) for _ in range(2))
    job = submit_file(str(ground.work / "script"), ["argument"], dependencies=[seven, nine], **where(ground))
    assert int(job.id) > nine
    assert job.get(40) == (0, "from a file, argument\n", "")


@RUNS
def test_the_job_class(ground: Ground) -> None:
    (ground.work / "folder").mkdir()
    for name in ("a.txt", "b.txt"):
        (ground.work / "folder" / name).touch()
    my_job = """#!/bin/bash
for i in folder/*.txt; do
    echo $i >> my_output.txt
    echo job_$i done!
done"""
    job = Job(my_job, cores=2 if ground.name == "slurm" else 16, **where(ground))  # here: all that there are
    job.submit()
    job.wait(40)
    assert job.stdout == "job_folder/a.txt done!\njob_folder/b.txt done!\n"
    assert job.exitcode == 0, job.stderr
    assert (ground.work / "my_output.txt").read_text() == "folder/a.txt\nfolder/b.txt\n"


@RUNS
def test_functions_need_no_guard(ground: Ground) -> None:
    """The script that submits has none: it is not imported on the node, and so submits nothing again."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in where(ground).items())
    program = ground.script(
        "import clusterfutures\n"
        "def my_function(x):\n    return x * factor\n"
        "factor = 6\n"
        f"print(clusterfutures.submit(my_function, (7,), {arguments}).get(40))\n"
    )
    assert program.said == "42\n"  # type: ignore[attr-defined]
    assert len(list((ground.work / "jobs").iterdir())) == 1


@RUNS
def test_the_flow_of_a_job(ground: Ground) -> None:
    job = Job("echo", ("several", "arguments  with blanks"), name="my name", **where(ground))
    job.write()
    assert os.path.isfile(os.path.join(job.path, "script"))
    job.submit()
    job.wait(40)
    printed = "several arguments  with blanks\n"
    assert job.stdout == printed == job.out
    job.clean()
    assert not os.path.exists(job.path)
    assert (job.stdout, job.exitcode, job.files, len(job.nodes)) == (printed, 0, [], 1)
    assert job.get() == (0, printed, "")


@RUNS
def test_the_queue(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterfutures.jobs.status.FIRST_SPACING", 0.5)
    q = Queue(user="self", scheduler=where(ground)["scheduler"])
    job1 = submit_anywhere("sleep 30", cores=2, mem=50, **where(ground))
    job2 = submit_anywhere("true", **where(ground))
    assert q.can_submit(1000)
    assert not q.can_submit(1)
    assert q.update() is q
    wait_until(lambda: job1.id in {job.id for job in q.running}, "it runs", 30)
    assert {job.id for job in q.jobs} >= {job1.id}
    found = q[job1]
    assert (found.cores, found.memory, len(found.nodes)) == (2, 50, 1)
    assert found.owner in (os.environ.get("USER", "root"), str(os.getuid()), "root")
    job1.cancel()
    q.wait([job1, int(job2.id)], timeout=40)
    q.wait_to_submit(1000, timeout=5)
    assert job1.id not in {job.id for job in [*q.running, *q.queued]} or job1.state.is_final


@pytest.mark.on("slurm")
def test_the_environment_is_found(ground: Ground) -> None:
    assert find_scheduler().name == "slurm"
    assert submit_anywhere("true", directory=str(ground.work / "jobs")).get(40)[0] == 0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config.toml"
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", str(file))
    return file


@RUNS
def test_profiles_and_options(ground: Ground, settings: Path) -> None:
    config.set_profile("default", nodes=1, cores=1, time="24:00:00", mem=32)
    config.set_profile("large", cores=2)
    config.set_option("max_jobs", 500)
    assert set(config.get_profiles()) == {"default", "large"}
    assert config.get_profile("large") == {"nodes": 1, "cores": 2, "time": "24:00:00", "memory": 32}
    assert config.get_option("max_jobs") == 500
    job = submit_anywhere(lambda: os.environ["CLUSTERFUTURES_CORES"], profile="large", **where(ground))
    assert job.record["resources"] == {"nodes": 1, "cores": 2, "time": 86400, "memory": 32}
    assert job.get(40) == "2"
    config.set_option("max_jobs", None)
    config.delete_profile("large")
    assert set(config.get_profiles()) == {"default"}


@RUNS
def test_a_profile_may_hold_any_keyword(ground: Ground, settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the job's files go, what is exported, what is cleaned: all from a profile, and an executor has no harm."""
    monkeypatch.setenv("PASSED", "on")
    config.set_profile(
        "full", filedir=str(ground.work / "there"), export="PASSED", suffix="x", outfile="told", dir="sub"
    )
    (ground.work / "sub").mkdir()
    job = submit_anywhere("echo $PASSED", profile="full", scheduler=ground.name)
    assert job.get(40)[:2] == (0, "on\n")
    assert (ground.work / "sub" / "told").read_text() == "on\n"
    assert os.path.dirname(job.path) == str(ground.work / "there")
    assert job.path.endswith(".x")
    with ground.executor(profile="full") as ex:
        assert ex.submit(pow, 2, 3).result(60) == 8


@RUNS
def test_job_files(ground: Ground) -> None:
    script = make_job_file("echo written; exit 3", name="made", **where(ground))
    assert Job.attach(os.path.dirname(script)).id == ""
    first = submit_anywhere("true", **where(ground))
    job = submit_file(script, dependencies=first)
    assert job.get(40) == (3, "written\n", "")
    with pytest.raises(RuntimeError, match="submitted already"):
        submit_file(script)
    with pytest.raises(OptionError, match="give cores there"):
        submit_file(script, cores=2)
    clean([job, first])
    assert list((ground.work / "jobs").iterdir()) == []


# ------------------------------------------------------------------------------ keywords


@pytest.mark.on("local")
@pytest.mark.parametrize("names", THEIRS, ids=lambda names: names.split()[0])
def test_every_keyword_with_its_synonyms(ground: Ground, names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    records = []
    for name in names.split():
        job = Job("true", **{name: THEIRS[names], "scheduler": "slurm"})
        records.append((job.record, job.request.directory, job.request.suffix, sorted(vars(job.request))))
    assert records[0] != (Job("true", scheduler="slurm").record, *records[0][1:]) or names.split()[0] in (
        "filedir", "imports", "syspaths",
    )  # fmt: skip
    assert all(record == records[0] for record in records)
    if len(names.split()) > 1:
        one, other = names.split()[:2]
        with pytest.raises(OptionError, match=r"twice|same option"):
            Job("true", **{one: THEIRS[names], other: THEIRS[names]})


@pytest.mark.on("local")
def test_values_are_checked(ground: Ground) -> None:
    for given, told in [
        ({"cores": "many"}, "whole number"), ({"mem": "20 XB"}, "amount"), ({"time": 30}, "a unit is needed"),
        ({"outfile": 3}, "one line of text"), ({"modules": [1]}, "list of texts"), ({"export": "1A"}, "no name of a"),
        ({"export": "NOT_SET_ANYWHERE"}, "no variable NOT_SET"), ({"suffix": "a/b"}, "end of a file"),
        ({"clean_files": "maybe"}, "true or false"), ({"max_jobs": 0}, "whole number"),
        ({"env": {"A": []}}, "give text"),
        ({"coers": 3}, "write cores, not coers$"), ({"stdout_file": "x"}, "write outfile, not stdout_file"),
        ({"processes": 2}, "no option 'processes'"),
    ]:  # fmt: skip
        with pytest.raises(OptionError, match=told):
            Job("true", **given)


@RUNS
def test_what_the_keywords_do(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "init").mkdir()
    loaded = 'module() { LOADEDMODULES="${LOADEDMODULES:+$LOADEDMODULES:}$2"; export LOADEDMODULES; }\n'
    (tmp_path / "init" / "bash").write_text(loaded)
    monkeypatch.setenv("MODULESHOME", str(tmp_path))
    monkeypatch.setenv("HERE", "it's here")
    monkeypatch.delenv("LOADEDMODULES", raising=False)
    (ground.work / "sub").mkdir()
    command = "pwd; echo $LOADEDMODULES $HERE $B $C; echo no >&2; touch made; umask"
    job = submit_anywhere(
        command, modules="gcc/12 mpi", dir="sub", export="HERE,B=2", env={"C": "3"}, setup="C=4",
        outfile="told-%j", errfile=str(ground.work / "complained"), suffix="trial", **where(ground),
    )  # fmt: skip
    told = f"{ground.work}/sub\ngcc/12:mpi it's here 2 4\n{os.umask(0o022):04o}\n"
    os.umask(int(told.split()[-1], 8))
    assert job.get(40) == (0, told, "no\n")
    assert (ground.work / "sub" / f"told-{job.id}").read_text() == told
    assert (ground.work / "complained").read_text() == "no\n"
    assert (ground.work / "sub" / "made").stat().st_mode & 0o777 == 0o644
    assert job.path.endswith(".trial")
    assert clean_dir(str(ground.work / "jobs"), suffix="other", confirm=False) == []
    assert clean_dir(str(ground.work / "jobs"), suffix="trial", confirm=False, delete_outputs=True) == [job.path]
    assert not (ground.work / "complained").exists()


@RUNS
def test_imports_and_paths_of_a_function(ground: Ground) -> None:
    (ground.work / "lib").mkdir()
    (ground.work / "lib" / "only_there.py").write_text("answer = 42\n")

    def asked() -> Any:
        return only_there.answer, path.join("a", "b"), getcwd is not None  # type: ignore[name-defined] # noqa: F821

    job = submit_anywhere(
        asked, imports=["only_there", "from os import path, getcwd"], syspaths="lib", clean_files=True, **where(ground)
    )
    assert job.get(40) == (42, "a/b", True)
    assert not os.path.exists(job.path)
    with pytest.raises(ModuleNotFoundError, match="only_there"):
        submit_anywhere(asked, imports=["only_there"], **where(ground)).get(40)


@RUNS
def test_one_file_for_both_outputs_and_a_directory_for_them(ground: Ground) -> None:
    both = submit_anywhere("echo a; echo b >&2", outfile="both", errfile="both", clean_outputs=True, **where(ground))
    both.wait(40)
    assert (ground.work / "both").read_text() == "a\nb\n"
    assert both.get() == (0, "a\nb\n", "a\nb\n")
    assert not (ground.work / "both").exists()
    assert both.stdout == "a\nb\n"
    (ground.work / "results").mkdir()
    job = submit_anywhere("echo a; echo b >&2", outpath="results", name="named", **where(ground))
    assert job.get(40) == (0, "a\n", "b\n")
    name = os.path.basename(job.path)
    assert {path.name for path in (ground.work / "results").iterdir()} == {f"{name}.out", f"{name}.err"}


@pytest.mark.on("local")
def test_a_full_queue_is_waited_for(ground: Ground) -> None:
    first = submit_anywhere("sleep 1", **where(ground))
    second = submit_anywhere("true", max_jobs=1, **where(ground))
    assert first.state.is_final
    assert Job("true", **where(ground)).submit(max_jobs=10).get(40)[0] == second.get(40)[0] == 0


@pytest.mark.on("local")
def test_help(ground: Ground) -> None:
    text = option_help()
    for name in [name for names in THEIRS for name in names.split() if name not in ("runpath",)]:
        assert re.search(rf"\b{name}\b", text), name
    assert {row.name for row in KEYWORDS} <= set(re.findall(r"^\w+", text, re.MULTILINE))


# ---------------------------------------------------------------------------- directives


@pytest.mark.on("slurm")
def test_what_slurm_has_understood(ground: SlurmGround) -> None:
    ground.slurm.run("scontrol", "update", "NodeName=c1,c2", "AvailableFeatures=ssd,ib", "ActiveFeatures=ssd,ib")
    job = submit_anywhere(
        "true", cpus=2, nodes=2, memory="20MB", walltime="0:04:00", queue="short", account="lab",
        features="ssd,ib", begin="2031-05-01T18:00", name="all of them", **where(ground),
    )  # fmt: skip
    said = ground.slurm.run("scontrol", "show", "job", "-o", job.id).stdout
    job.cancel()
    for words in (
        "NumCPUs=4", "NumNodes=2-2", "CPUs/Task=2", "TimeLimit=00:04:00", "Partition=short", "Account=lab",
        "Features=ssd&ib", "StartTime=2031-05-01T18:00:00", "mem=40M",
    ):  # fmt: skip
        assert re.search(rf"\b{re.escape(words)}\b", said), (words, said)
    assert job.wait(40).state in (JobState.CANCELLED, JobState.GONE)
    for wrong, told in [
        ({"queue": "nowhere"}, "partition"),
        ({"features": "none-such"}, "feature"),
    ]:
        with pytest.raises(SubmitError, match=told):
            submit_anywhere("true", **wrong, **where(ground))
    assert len(list((ground.work / "jobs").iterdir())) == 1


@pytest.mark.on("pbs", "torque")
def test_what_pbs_has_understood(ground: StandInGround) -> None:
    """All that both dialects have words for, as ``qstat`` tells it; and what they refuse, as they refuse it."""
    extra = {} if ground.name == "pbs" else {"features": "ssd"}
    job = submit_anywhere(
        "true", cpus=2, memory="20MB", walltime="0:04:00", account="lab", begin="2031-05-01T18:00", **extra,
        **where(ground),
    )  # fmt: skip
    if ground.name == "pbs":
        (found,) = json.loads(ground.standin.run("qstat", "-f", "-F", "json", job.id).stdout)["Jobs"].values()
        resources = found["Resource_List"]
        assert resources["select"] == "1:ncpus=2:mem=20mb"
        assert resources["walltime"] in ("00:04:00", "0:04:00")
        assert found["Account_Name"] == "lab"
    else:
        said = ground.standin.run("qstat", "-x", job.id).stdout
        for words in ("<nodes>1:ppn=2:ssd</nodes>", "<mem>20mb</mem>", "<walltime>00:04:00</walltime>"):
            assert words in said
    assert "-A lab -a 203105011800.00" in " ".join(ground.standin.call_list("qsub")[-1])
    job.cancel()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"queue": "nosuchq"}, "[Uu]nknown queue"),
        ({"extra": ["-l", "nosuch=3"]}, "[Uu]nknown resource"),
        ({"extra": ["-l", "walltime=abc"]}, "[Ii]llegal"),
        ({"extra": ["-r", "perhaps"]}, "illegal -r value"),
    ]
    if ground.name == "pbs":
        wrong += [({"gpus": 1}, "Unknown resource: ngpus"), ({"features": "nosuch"}, "Unknown resource: nosuch")]
    for given, told in wrong:
        with pytest.raises(SubmitError, match=told):
            submit_anywhere("true", **given, **where(ground))
    with pytest.raises(OptionError, match="has no qos") if ground.name == "pbs" else pytest.raises(SubmitError):
        submit_anywhere("true", qos="high", **({} if ground.name == "pbs" else {"queue": "nosuchq"}), **where(ground))
    assert os.listdir(ground.work / "jobs") == [os.path.basename(job.path)]


@pytest.mark.on("slurm", "pbs")
def test_directives_of_a_script(ground: Ground) -> None:
    """They hold, and what the call says wins; what cannot be followed is refused."""
    lines = {
        "slurm": "#SBATCH -J theirs -t 3\n#SBATCH --mem=30M --ntasks=2 # why\n#SBATCH --open-mode truncate\n",
        "pbs": "#PBS -N theirs -l walltime=180,mem=30mb\n#PBS -l select=1:ncpus=2\n#PBS -r n\n",
    }
    script = ground.work / "theirs.sh"
    script.write_text(f"#!/bin/bash\n{lines[ground.name]}\necho run\n#SBATCH --nonsense\n")
    job = submit_file(script, memory="20MB", **where(ground))
    assert (job.name, job.record["resources"]["time"], job.record["resources"]["memory"]) == ("theirs", 180, 20)
    kept = {"slurm": ["--ntasks=2", "--open-mode=truncate"], "pbs": ["-l", "select=1:ncpus=2", "-r", "n"]}
    assert job.record["resources"]["extra"] == kept[ground.name]
    if ground.name == "slurm":
        assert job.get(40) == (0, "run\n", "")
    else:
        job.cancel()
    array = {"slurm": "#SBATCH --array=0-3", "pbs": "#PBS -J 0-3"}[ground.name]
    script.write_text(f"#!/bin/bash\n{array}\ntrue\n")
    with pytest.raises(OptionError, match=r"use submit_array\(\)"):
        submit_file(script, **where(ground))


# -------------------------------------------------------------------------------- arrays


def test_an_array_and_what_depends_on_it(ground: Ground) -> None:
    jobs = submit_array("echo {#}; exit $(({#} == 2))", ["x", "y", "z"], memory="20MB", **where(ground))
    good = submit_anywhere("echo after", dependencies={"any": jobs}, **where(ground))
    assert [job.get(50)[:2] for job in jobs] == [(0, "1\n"), (1, "2\n"), (0, "3\n")]
    assert len({job.id for job in jobs}) == 3
    assert good.get(50)[1] == "after\n"
    assert jobs[1].resubmit().get(50)[0] == 1
    assert [Job.attach(job.path).exitcode for job in jobs] == [0, 1, 0]
    clean([*jobs, good])
    assert list((ground.work / "jobs").iterdir()) == []


@pytest.mark.on("slurm")
def test_an_array_larger_than_the_site_allows(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes as several; and when one of them is refused, the others are cancelled."""
    from clusterfutures.jobs.status import adapter

    monkeypatch.setattr(adapter("slurm"), "array_limit", lambda: 2)
    jobs = submit_array(divmod, [(7, 2), (9, 4), (5, 5)], **where(ground))
    assert [job.get(40) for job in jobs] == [(3, 1), (2, 1), (1, 0)]
    assert [job.array_size for job in jobs] == [2, 2, 1]
    real, done = adapter("slurm").submit, []

    def refuse_second(*args: Any) -> list[str]:
        done.append(args)
        if len(done) > 1:
            raise SubmitError(message="no more")
        return real(*args)

    monkeypatch.setattr(adapter("slurm"), "submit", refuse_second)
    with pytest.raises(SubmitError, match="no more"):
        submit_array("sleep 60", ["a", "b", "c"], **where(ground))


@pytest.mark.on("local")
def test_futures_as_dependencies(ground: Ground) -> None:
    with ground.executor(max_workers=1) as ex:
        good, bad = ex.submit(pow, 2, 3), ex.submit(int, "x")
        assert submit_anywhere("echo yes", dependencies=[good], **where(ground)).get(40)[1] == "yes\n"
        assert submit_anywhere("echo no", dependencies={"notok": bad}, **where(ground)).get(40)[1] == "no\n"
        never = submit_anywhere("echo never", dependencies={"ok": [good, bad]}, **where(ground))
        assert (never.id, never.state) == ("", JobState.FAILED)
        assert "raised ValueError" in str(never)
        assert [job.state for job in submit_array("true", "ab", depends=bad, **where(ground))] == [JobState.FAILED] * 2
    never.clean()
