"""The stand-in for PBS Pro answers as the real OpenPBS was seen to, character by character."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scheduler_programs import a_place_of_its_own, until

from clusterfutures.testing import FakePBS
from clusterfutures.testing import processes as ps

USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
\t[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
\t[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
\t[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
\t[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
\t[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePBS]:
    a_place_of_its_own(tmp_path, monkeypatch)
    with FakePBS(cpus=4, kill_delay=0.3, young_seconds=0.3, first_number=1) as standin:
        yield standin
        assert standin.errors() == ""


def submit(pbs: FakePBS, *words: str, text: str = "", **env: str) -> str:
    done = pbs.run("qsub", *words, env=env, text=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")
    return done.stdout[:-1]


def jobs(pbs: FakePBS, *words: str) -> dict[str, Any]:
    done = pbs.run("qstat", "-f", "-F", "json", *words)
    answer = json.loads(done.stdout)
    assert set(answer) - {"Jobs"} == {"timestamp", "pbs_version", "pbs_server"}
    found: dict[str, Any] = answer.get("Jobs", {})
    return found


def job(pbs: FakePBS, name: str) -> dict[str, Any]:
    found: dict[str, Any] = jobs(pbs, "-x", name)[name]
    return found


def state(pbs: FakePBS, name: str) -> str:
    return str(job(pbs, name)["job_state"])


def ended(pbs: FakePBS, name: str) -> tuple[Any, ...]:
    until(lambda: state(pbs, name) == "F")
    record = job(pbs, name)
    return record["substate"], record.get("Exit_status"), record.get("comment", "")


def test_ids_and_life_of_a_job(pbs: FakePBS) -> None:
    assert submit(pbs, "ok.sh") == "1.vm"
    assert submit(pbs, "-J", "0-3", "ok.sh") == "2[].vm"
    pbs.wait()
    record = job(pbs, "1.vm")
    assert record["Job_Name"] == "ok.sh"
    assert record["Resource_List"] == {"ncpus": 1, "nodect": 1, "place": "pack", "select": "1:ncpus=1"}
    assert (record["job_state"], record["substate"], record["Exit_status"]) == ("F", 92, 0)
    assert record["comment"].startswith("Job run at ")
    assert record["comment"].endswith(" on (vm:ncpus=1) and finished")
    assert record["Output_Path"] == f"localhost:{os.getcwd()}/ok.sh.o1"
    assert Path("ok.sh.o1").read_text() == "hello\n"
    assert Path("ok.sh.o1").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in Path().glob("ok.sh.?2.*")) == [
        f"ok.sh.{c}2.{n}" for c in "eo" for n in range(4)
    ]
    assert pbs.run("qstat", "-f", "2").returncode == 153
    assert state(pbs, "2[1].vm") == "F"
    assert list(jobs(pbs, "-x", "2[1-2]")) == ["2[1].vm", "2[2].vm"]


def test_several_programs_and_versions(pbs: FakePBS) -> None:
    assert pbs.run("qstat", "--version").stdout == "pbs_version = 23.06.06\n"
    assert pbs.run("qsub", "--version").stdout == "pbs_version = 23.06.06\n"
    assert "max_array_size = 10000\n" in pbs.run("qmgr", "-c", "list server max_array_size").stdout
    assert "    max_array_size = 10000\n" in pbs.run("qstat", "-Bf").stdout
    assert "resources_available.ncpus = 4" in pbs.run("pbsnodes", "-a").stdout
    assert (pbs.calls("qstat"), pbs.calls("qsub"), pbs.calls("qdel")) == (2, 1, 0)
    assert pbs.call_list("qmgr") == [["qmgr", "-c", "list server max_array_size"]]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["-l", "nosuch=3", "ok.sh"], 187, "qsub: Unknown resource Resource_List.nosuch\n"),
        (["-l", "select=1:nosuch=3", "ok.sh"], 187, "qsub: Unknown resource: nosuch\n"),
        (["-l", "select=1:ngpus=1", "ok.sh"], 187, "qsub: Unknown resource: ngpus\n"),
        (["-l", "walltime=abc", "ok.sh"], 166, "qsub: Illegal attribute or resource value Resource_List.walltime\n"),
        (["-l", "mem=12zz", "ok.sh"], 166, "qsub: Illegal attribute or resource value Resource_List.mem\n"),
        (["-l", "mem=1.5gb", "ok.sh"], 166, "qsub: Illegal attribute or resource value Resource_List.mem\n"),
        (["-l", "select=1:ncpus=x", "ok.sh"], 166, "qsub: Illegal attribute or resource value select.ncpus\n"),
        (
            ["-l", "select=1:ncpus=1", "-l", "ncpus=2", "ok.sh"],
            5,
            'qsub: "-lresource=" cannot be used with "select" or "place", resource is: ncpus\n',
        ),
        (["-q", "nosuchq", "ok.sh"], 170, "qsub: Unknown queue\n"),
        (
            ["-q", "workq@otherhost", "ok.sh"],
            160,
            "Unknown Host.\nqsub: cannot connect to server vm (errno=15008)\n",
        ),
        (["nosuchfile.sh"], 1, "qsub: script file:: No such file or directory\n"),
        (["-J", "0-20000", "ok.sh"], 3, "qsub: Array job exceeds server or queue size limit\n"),
        (["-J", "0-0", "ok.sh"], 2, "qsub: illegal -J value\n" + USAGE),
        (["-J", "3", "ok.sh"], 2, "qsub: illegal -J value\n" + USAGE),
        (["-J", "1,3,5", "ok.sh"], 2, "qsub: illegal -J value\n" + USAGE),
        (["-J", "3-1", "ok.sh"], 2, "qsub: illegal -J value\n" + USAGE),
        (["-W", "group_list=nosuch", "ok.sh"], 197, "qsub: Bad GID for job execution\n"),
        (["-W", "nosuch=1", "ok.sh"], 154, "qsub: Error (15002) submitting job\n"),
        (["-l", "place=excl", "ok.sh"], 7, 'qsub: Cannot have "place" without "select"\n'),
        (["-l", "select=0", "ok.sh"], 166, "qsub: Illegal attribute or resource value Resource_List.select\n"),
        (
            ["-l", "select=1", "-l", "place=foo", "ok.sh"],
            166,
            "qsub: Illegal attribute or resource value Resource_List.place\n",
        ),
        (
            ["-l", "select=1", "-l", "nodes=1", "ok.sh"],
            6,
            "qsub: Cannot be used with select or place: nodes\n",
        ),
        (["-r", "n", "-J", "0-1", "ok.sh"], 2, "qsub: cannot submit non-rerunable Array Job\n" + USAGE),
        (["-a", "9999", "ok.sh"], 2, "qsub: illegal -a value\n" + USAGE),
        (["-p", "5000", "ok.sh"], 2, "qsub: illegal -p value\n" + USAGE),
        (["-m", "x", "ok.sh"], 2, "qsub: illegal -m value\n" + USAGE),
        (["-v", "A=1,NOT_SET", "ok.sh"], 1, "qsub: cannot send environment with the job\n"),
        (["."], 1, "qsub: script not a file\n"),
        (["-W", "depend=afterok:1[2].vm", "ok.sh"], 2, "qsub: illegal -W value\n" + USAGE),
        (["-o", "é.out", "ok.sh"], 2, "qsub: illegal -o value\n" + USAGE),
        (["crlf.sh"], 1, "qsub: script contains cr, lf\n"),
        (["blank.sh"], 1, "qsub: directive error: -N has space\n"),
        (["my script.sh"], 2, "qsub: illegal -N value\n" + USAGE),
        (["-N", "x" * 231, "ok.sh"], 2, "qsub: Job name is too long \n"),
        (["-v", 'A="b', "ok.sh"], 1, "qsub: cannot send environment with the job\n"),
        *(
            (["-N", name, "ok.sh"], 2, "qsub: illegal -N value\n" + USAGE)
            for name in ("", " ", "a/b", "a:b", "a[", "é")
        ),
    ],
)
def test_what_qsub_refuses(pbs: FakePBS, words: list[str], code: int, text: str) -> None:
    Path("crlf.sh").write_bytes(b"#!/bin/sh\r\ntrue\r\n")
    Path("blank.sh").write_text("#!/bin/sh\n#PBS -N has space\ntrue\n")
    Path("my script.sh").write_text("#!/bin/sh\n")
    done = pbs.run("qsub", *words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)


def test_good_names_and_a_burnt_number(pbs: FakePBS) -> None:
    assert pbs.run("qsub", "-q", "nosuchq", "ok.sh").returncode == 170
    for number, name in enumerate(("x" * 230, "1a", ".a", "+a-b_c.d", "-a"), 2):
        assert submit(pbs, "-N", name, "ok.sh") == f"{number}.vm"
        assert job(pbs, f"{number}.vm")["Job_Name"] == name


def test_what_qstat_says(pbs: FakePBS) -> None:
    submit(pbs, "ok.sh")
    pbs.wait()
    for words, code, text in (
        (["99999"], 153, "qstat: Unknown Job Id 99999.vm\n"),
        (["99999.vm"], 153, "qstat: Unknown Job Id 99999.vm\n"),
        (["1"], 35, "qstat: 1.vm Job has finished, use -x or -H to obtain historical job information\n"),
        (["notanid"], 170, "qstat: Unknown queue destination notanid\n"),
    ):
        for more in ([], ["-f", "-F", "json"]):
            done = pbs.run("qstat", *more, *words)
            assert (done.returncode, done.stderr) == (code, text)
            if more:
                assert set(json.loads(done.stdout)) == {"timestamp", "pbs_version", "pbs_server"}
    done = pbs.run("qstat", "-f", "-F", "json")
    assert (done.returncode, "Jobs" in json.loads(done.stdout)) == (0, False)
    assert pbs.run("qstat", "-u", "me", "-f").returncode == 2
    assert "1.vm " in pbs.run("qstat", "-x").stdout
    text = pbs.run("qstat", "-x", "-f", "1").stdout
    assert text.startswith("Job Id: 1.vm\n    Job_Name = ok.sh\n")
    assert "\n    Exit_status = 0\n" in text
    assert "|Exit_status=0|" in pbs.run("qstat", "-x", "-f", "-F", "dsv", "1").stdout


def test_several_ids_and_the_defect(pbs: FakePBS) -> None:
    for _ in range(2):
        submit(pbs, "ok.sh")
    submit(pbs, "-J", "0-1", "ok.sh")
    pbs.wait()
    assert list(jobs(pbs, "-x", "1.vm", "2.vm")) == ["1.vm"]
    assert list(jobs(pbs, "-E", "-x", "2.vm", "99.vm", "1.vm")) == ["1.vm", "2.vm"]
    assert list(jobs(pbs, "-E", "-x", "-t", "3[].vm", "1")) == ["1.vm", "3[].vm", "3[0].vm", "3[1].vm"]
    done = pbs.run("qstat", "-E", "-f", "-F", "json", "1.vm", "2.vm")
    assert (done.returncode, "Jobs" in json.loads(done.stdout)) == (35, False)
    pbs.configure(several_ids_bug=False)
    assert list(jobs(pbs, "-x", "1.vm", "2.vm")) == ["1.vm", "2.vm"]
    assert pbs.run("qstat", "-x", "-f", "1.vm", "2.vm").stdout.count("Job Id:") == 2


def test_without_history(pbs: FakePBS) -> None:
    pbs.configure(history=False)
    name = submit(pbs, "sleep.sh")
    until(lambda: jobs(pbs, name)[name]["job_state"] == "R")
    done = pbs.run("qstat", "-x", "-f", "-F", "json", name)
    assert (done.returncode, done.stderr) == (0, f"qstat: PBS is not configured to maintain job history {name}\n")
    assert "Jobs" not in json.loads(done.stdout)
    assert pbs.run("qdel", name).returncode == 0
    pbs.wait()
    done = pbs.run("qstat", name)
    assert (done.returncode, done.stderr) == (153, f"qstat: Unknown Job Id {name}\n")


@pytest.mark.parametrize(
    ("script", "substate", "status", "comment"),
    [
        ("exit 0", 92, 0, " and finished"),
        ("exit 3", 93, 3, " and failed"),
        ("exit 200", 93, 200, " and failed"),
        ("/no/such/command", 93, 127, " and failed"),
        ("kill -9 $$", 93, 137, " and failed"),
        ("kill -SEGV $$", 93, 139, " and failed"),
    ],
)
def test_how_scripts_end(pbs: FakePBS, script: str, substate: int, status: int, comment: str) -> None:
    name = submit(pbs, "-N", "x", text=f"#!/bin/sh\n{script}\n")
    found = ended(pbs, name)
    assert found[:2] == (substate, status)
    assert found[2].endswith(comment)


def test_how_other_jobs_end(pbs: FakePBS) -> None:
    program = submit(pbs, "--", "/no/such/program")
    bad = submit(pbs, "-N", "x", text="#!/no/such/python3\n")
    killed = submit(pbs, "--", "sleep", "60")
    limit = submit(pbs, "-l", "walltime=1", "sleep.sh")
    until(lambda: pbs.run("qsig", "-s", "SIGKILL", killed).returncode == 0)
    assert ended(pbs, program)[:2] == (93, 254)
    assert ended(pbs, bad)[:2] == (93, 127)
    assert ended(pbs, killed)[:2] == (93, 265)
    found = ended(pbs, limit)
    assert found[:2] == (93, -29)
    assert found[2].endswith(" and exceeded resource walltime")
    assert re.search(r"=>> PBS: job killed: walltime \d+ exceeded limit 1\n", Path("sleep.sh.e4").read_text())
    assert job(pbs, limit)["Resource_List"]["walltime"] == "00:00:01"


def test_qdel(pbs: FakePBS) -> None:
    pbs.configure(kill_delay=3.0)
    deaf = "#!/bin/sh\ntrap 'exit 5' TERM\nsleep 60 & wait\n"
    stubborn = f"#!/bin/sh\ntrap '' TERM\ntouch {os.getcwd()}/up\nsleep 60 & wait\nsleep 60\n"
    names = [submit(pbs, "sleep.sh"), submit(pbs, "-N", "a", text=deaf), submit(pbs, "-N", "b", text=stubborn)]
    forced = submit(pbs, "sleep.sh")
    queued, held = submit(pbs, "ok.sh"), submit(pbs, "-h", "ok.sh")
    until(lambda: all(state(pbs, name) == "R" for name in [*names, forced]) and Path("up").exists())
    assert job(pbs, queued)["comment"] == "Not Running: Not enough free nodes available"
    assert (job(pbs, held)["job_state"], job(pbs, held)["Hold_Types"]) == ("H", "u")
    done = pbs.run("qdel", queued, "99999.vm", held)
    assert (done.returncode, done.stderr) == (153, "qdel: Unknown Job Id 99999.vm\n")
    done = pbs.run("qdel", *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert job(pbs, names[2])["job_state"] == "R"
    assert job(pbs, names[2])["comment"].endswith(" and terminated by " + job(pbs, names[2])["Job_Owner"])
    assert pbs.run("qdel", names[2]).returncode == 0, "it is being ended"
    pbs.run("qdel", "-W", "force", forced)
    me = job(pbs, names[0])["Job_Owner"]
    for name in names:
        found = ended(pbs, name)
        assert found[:2] == (91, 271)
        assert found[2].endswith(f" and terminated by {me}")
    assert ended(pbs, forced)[:2] == (91, 265)
    assert ended(pbs, queued) == (91, None, "Not Running: Not enough free nodes available and terminated")
    assert ended(pbs, held) == (91, None, "")
    for words, code, text in (
        ([names[0]], 35, f"qdel: Job has finished {names[0]}\n"),
        (["notanid"], 1, "qdel: illegally formed job identifier: notanid\n"),
    ):
        done = pbs.run("qdel", *words)
        assert (done.returncode, done.stderr) == (code, text)
    assert pbs.run("qdel", "-x", names[0]).returncode == 0
    assert pbs.run("qstat", "-x", names[0]).returncode == 153


def test_array_while_it_runs(pbs: FakePBS) -> None:
    script = '#!/bin/sh\n[ "$PBS_ARRAY_INDEX" = 1 ] && exit 4\n[ "$PBS_ARRAY_INDEX" = 0 ] && exit 0\nsleep 60\n'
    name = submit(pbs, "-N", "a", "-J", "0-7%2", text=script)
    assert name == "1[].vm"
    until(lambda: job(pbs, name).get("array_state_count") == "Queued:4 Running:2 Exiting:0 Expired:2")
    parent = job(pbs, name)
    assert (parent["job_state"], parent["array"], parent["max_run_subjobs"]) == ("B", "True", 2)
    assert (parent["array_indices_submitted"], parent["array_indices_remaining"]) == ("0-7", "4-7")
    assert parent["Output_Path"].endswith("/a.o1.^array_index^")
    records = jobs(pbs, "-t", name)
    assert [records[f"1[{n}].vm"]["job_state"] for n in range(8)] == list("XXRRQQQQ")
    first, second, waiting = (records[f"1[{n}].vm"] for n in (0, 1, 4))
    assert (first["array_id"], first["array_index"], first["Exit_status"]) == (name, 0, 0)
    assert (second["array_index"], second["Exit_status"]) == (1, 4)
    assert second["Output_Path"].endswith("/a.o1.1")
    # a subjob that has not started is a copy of the array, exit status and all
    assert waiting["Exit_status"] in (0, 1), "that of the element that ended last"
    assert not {"array_index", "array_id", "run_count"} & set(waiting)
    assert jobs(pbs, "1[1]")["1[1].vm"]["job_state"] == "X"
    for words, code, text in (
        (["1[1].vm"], 55, "qdel: Request invalid for finished array subjob 1[1].vm\n"),
        (["1[99].vm"], 156, "qdel: Invalid request 1[99].vm\n"),
        (["1.vm"], 153, "qdel: Unknown Job Id 1.vm\n"),
        (["1[4]"], 0, ""),
    ):
        done = pbs.run("qdel", *words)
        assert (done.returncode, done.stderr) == (code, text)
    gone = jobs(pbs, "1[4]")["1[4].vm"]
    assert (gone["job_state"], gone["comment"], "array_index" in gone) == ("X", "Subjob finished", False)
    assert pbs.run("qdel", name).returncode == 0
    pbs.wait()
    records = jobs(pbs, "-x", "-t", name)
    swept, running = records["1[0].vm"], records["1[2].vm"]
    assert (swept["job_state"], swept["substate"], swept["Exit_status"]) == ("F", 91, 1)
    assert (swept["comment"], "array_index" in swept, "run_count" in swept) == ("Subjob finished", False, False)
    assert (running["Exit_status"], running["array_index"]) == (271, 2)


def test_array_to_its_end(pbs: FakePBS) -> None:
    name = submit(pbs, "-N", "a", "-J", "0-2", text="#!/bin/sh\nexit $PBS_ARRAY_INDEX\n")
    one = submit(pbs, "-N", "b", "-J", "0-1:2", text="#!/bin/sh\necho $PBS_ARRAY_INDEX $PBS_ARRAY_ID $PBS_JOBID\n")
    pbs.wait()
    parent = job(pbs, name)
    assert (parent["job_state"], parent["array_indices_remaining"]) == ("F", "-")
    assert [jobs(pbs, "-x", f"1[{n}]")[f"1[{n}].vm"]["Exit_status"] for n in range(3)] == [0, 1, 2]
    assert job(pbs, one)["Exit_status"] == 0
    assert Path("b.o2.0").read_text() == "0 2[].vm 2[0].vm\n"
    held = submit(pbs, "-h", "-J", "5-6", "ok.sh")
    assert pbs.run("qdel", "3[5]").returncode == 0
    assert job(pbs, held)["array_indices_remaining"] == 6  # one left: a number


def test_the_last_element_to_end_decides(pbs: FakePBS) -> None:
    """What an array has come to, and what depends on it, is what its last element has come to."""
    script = f"#!/bin/sh\nwhile [ ! -e {os.getcwd()}/go$PBS_ARRAY_INDEX ]; do sleep 0.05; done\nexit $PBS_ARRAY_INDEX\n"
    arrays = [submit(pbs, "-N", "a", "-J", "0-1", text=script.replace("/go", f"/{n}go")) for n in range(2)]
    later = [
        [submit(pbs, "-h", "-W", f"depend={kind}:{name}", "ok.sh") for kind in ("afterok", "afternotok")]
        for name in arrays
    ]
    for number, name in enumerate(arrays):
        for element in (number, 1 - number):
            Path(f"{number}go{element}").touch()
            element_name = name.replace("[]", f"[{element}]")
            until(lambda element_name=element_name: jobs(pbs, "-x", element_name)[element_name]["job_state"] in "XF")
    said = [(job(pbs, name)["Exit_status"], job(pbs, name)["comment"].rpartition(" and ")[2]) for name in arrays]
    assert said == [(1, "failed"), (0, "finished")]
    pbs.run("qrls", *later[0], *later[1])
    pbs.wait()
    assert [[job(pbs, name).get("Exit_status") for name in names] for names in later] == [[None, 0], [0, None]]


def test_a_job_that_is_ended_in_its_first_seconds(pbs: FakePBS) -> None:
    """It is called running until it is old enough, though its comment tells."""
    pbs.configure(young_seconds=3.0)
    name = submit(pbs, "sleep.sh")
    until(lambda: state(pbs, name) == "R")
    began = time.monotonic()
    for _ in range(2):
        done = pbs.run("qdel", name)
        assert (done.returncode, done.stderr) == (0, "")
    record = job(pbs, name)
    assert (record["job_state"], record["substate"]) == ("R", 41)
    assert record["comment"].endswith(f" and terminated by {record['Job_Owner']}")
    assert ended(pbs, name)[:2] == (91, 271)
    assert time.monotonic() - began > 2


def test_what_a_running_job_is_told(pbs: FakePBS) -> None:
    name = submit(pbs, "sleep.sh")
    until(lambda: state(pbs, name) == "R")
    assert pbs.run("qhold", name).returncode == 0
    record = job(pbs, name)
    assert record["job_state"] == "R"
    assert record["comment"].startswith(f"Job held by {record['Job_Owner'].partition('@')[0]} on ")
    finished = submit(pbs, "ok.sh")
    ended(pbs, finished)
    for command in ("qhold", "qrls"):
        done = pbs.run(command, finished)
        assert (done.returncode, done.stderr) == (35, f"{command}: Job has finished\n")


def test_several_elements_at_once(pbs: FakePBS) -> None:
    submit(pbs, "-h", "-J", "0-5", "ok.sh")
    assert pbs.run("qdel", "1[1]").returncode == 0
    done = pbs.run("qdel", "1[1-2]")
    assert (done.returncode, done.stderr) == (0, "")
    assert [jobs(pbs, "-x", f"1[{n}]")[f"1[{n}].vm"]["job_state"] for n in (1, 2)] == ["X", "X"]


def test_a_stopped_queue(pbs: FakePBS) -> None:
    pbs.configure(stopped_queues=["workq"])
    name = submit(pbs, "ok.sh")
    record = job(pbs, name)
    assert (record["job_state"], record["comment"]) == ("Q", "Not Running: Queue not started.")
    assert "started = False" in pbs.run("qstat", "-Qf").stdout
    pbs.configure(stopped_queues=[])
    assert ended(pbs, name)[:2] == (92, 0)


def test_what_else_the_real_one_does(pbs: FakePBS) -> None:
    assert submit(pbs, "-W", "umask=999", "ok.sh") == "1.vm"
    assert submit(pbs, "-l", "select=1", "-l", "place=excl", "ok.sh") == "2.vm"
    assert job(pbs, submit(pbs, "-h", "-l", "nodes=1:ppn=2", "-l", "mem=10mb", "ok.sh"))["Resource_List"]["ncpus"] == 2
    assert submit(pbs, "-N", "x", "-", text="#!/bin/sh\nexit 5\n") == "4.vm"
    assert ended(pbs, "4.vm")[:2] == (93, 5)
    done = pbs.run("qstat", "-E", "-x", "-f", "-F", "json", "99999")
    assert (done.returncode, done.stderr) == (153, "qstat: Unknown Job Id 99999.vm\n")
    assert "Jobs" not in json.loads(done.stdout)
    for words in (["-N", "a b"], ["-s", "Z"]):
        assert pbs.run("qselect", *words).returncode == 2
    done = pbs.run("qmgr", "-c", "set server job_history_enable=true")
    assert done.returncode == 159
    assert "Unauthorized Request" in done.stderr
    held, run = job(pbs, "3.vm"), job(pbs, "4.vm")
    assert {"Checkpoint", "Mail_Points"} <= held.keys() & run.keys()
    assert not {"etime", "jobdir", "session_id"} & held.keys()
    assert {"etime", "jobdir"} <= run.keys()


def test_the_first_job_of_a_new_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_place_of_its_own(tmp_path, monkeypatch)
    with FakePBS() as pbs:
        assert submit(pbs, "ok.sh") == "0.vm"
        until(lambda: state(pbs, "0.vm") == "F")
        assert submit(pbs, "-J", "0-1", "ok.sh") == "1[].vm"


def test_environment(pbs: FakePBS) -> None:
    script = '#!/bin/sh\nenv -0 > "$PBS_O_WORKDIR/env"; pwd; umask; cat $PBS_NODEFILE; ls -d $TMPDIR\n'
    name = submit(pbs, "-N", "e", "-l", "select=1:ncpus=2", text=script, LANG="de_DE", MINE="1")
    pbs.wait()
    env = dict(item.split("=", 1) for item in Path("env").read_text().split("\0") if item)
    home = os.environ["HOME"]
    assert Path("e.o1").read_text() == f"{home}\n0077\nlocalhost\n{env['TMPDIR']}\n"
    assert not Path(env["TMPDIR"]).exists()
    for key, value in {
        "ENVIRONMENT": "BATCH", "HOME": home, "NCPUS": "2", "OMP_NUM_THREADS": "2", "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": name, "PBS_JOBNAME": "e", "PBS_JOBDIR": home, "PBS_O_WORKDIR": os.getcwd(), "PBS_QUEUE": "workq",
        "PBS_O_HOST": "localhost", "PBS_O_SYSTEM": "Linux", "PBS_O_QUEUE": "workq", "PBS_TASKNUM": "1",
    }.items():  # fmt: skip
        assert env[key] == value
    assert env["TMPDIR"].endswith("/pbs.1.vm")
    assert not {"LANG", "MINE", "PBS_ARRAY_INDEX"} & set(env)


def test_variables(pbs: FakePBS) -> None:
    script = '#!/bin/sh\nfor v in A B C D E F; do eval "printf \'%s|\' \\"\\$$v\\""; done\n'
    for given, shown in (
        ("A=1,B=2", "1|2|||||"),
        ("A=a\\,b,B=x y", "a,b|x y|||||"),
        ("A=\"a,b\",B='c,d'", "a,b|c,d|||||"),
        ('A="{"k": 1}"', "{k: 1}||||||"),
        ("A=$HOME;|&`,B=x=y,C=,D=a\nb,E=é,F=a\\b", "$HOME;|&`|x=y||a\nb|é|a\\b|"),
        ("A", 'from, "outside"\n||||||'),
    ):
        name = submit(pbs, "-N", "v", "-v", given, text=script, A='from, "outside"\n')
        pbs.wait()
        assert Path(f"v.o{name[:-3]}").read_text() == shown
    name = submit(pbs, "-v", "S=4,Z=007,T=true,N=null,X=1e5,Q=a\\b,R", "-h", "ok.sh", R='say "x"')
    found = job(pbs, name)["Variable_List"]
    assert {key: found[key] for key in "SZTNXQR"} == {
        "S": 4, "Z": 7, "T": True, "N": None, "X": 100000, "Q": "a\\\\b", "R": 'say \\"x\\"',
    }  # fmt: skip


def test_where_output_goes(pbs: FakePBS) -> None:
    Path("dir").mkdir()
    script = "#!/bin/sh\necho out$PBS_ARRAY_INDEX; echo err >&2\n"
    submit(pbs, "-N", "a", "-o", "dir/", "-e", "dir", text=script)
    submit(pbs, "-N", "b", "-j", "oe", "-o", "x y,z.out", text=script)
    submit(pbs, "-N", "c", "-J", "1-2", "-j", "oe", "-o", f"{os.getcwd()}/c.^array_index^.out", text=script)
    submit(pbs, "-N", "d", "-J", "1-2", "-o", "dir/", "-e", "/dev/null", text=script)
    submit(pbs, "-N", "f", "-j", "eo", "-R", "e", text=script)
    submit(pbs, "-N", "g", "-k", "oe", "-W", "umask=022", text=script)
    submit(pbs, "-N", "h", "-W", "umask=022", text=script)
    pbs.wait()
    found = {str(path): path.read_text() for path in Path().rglob("*") if path.is_file() and path.suffix != ".sh"}
    assert found == {
        "dir/1.vm.OU": "out\n", "dir/1.vm.ER": "err\n", "x y,z.out": "out\nerr\n",
        "c.1.out": "out1\nerr\n", "c.2.out": "out2\nerr\n", "dir/4[1].vm.OU": "out1\n", "dir/4[2].vm.OU": "out2\n",
        "h.o7": "out\n", "h.e7": "err\n",
    }  # fmt: skip
    assert (Path.home() / "g.o6").read_text() == "out\n"
    assert Path("h.o7").stat().st_mode & 0o777 == 0o644


def test_output_is_spooled_unless_kept(pbs: FakePBS) -> None:
    script = "#!/bin/sh\necho now\nwhile [ ! -e go ]; do sleep 0.05; done\n"
    script = script.replace("-e go", f"-e {os.getcwd()}/go")
    submit(pbs, "-N", "spooled", text=script)
    submit(pbs, "-N", "direct", "-k", "oed", text=script)
    until(lambda: Path("direct.o2").exists() and Path("direct.o2").read_text() == "now\n")
    assert not Path("spooled.o1").exists()
    Path("go").touch()
    pbs.wait()
    assert Path("spooled.o1").read_text() == "now\n"


def test_output_that_cannot_be_delivered(pbs: FakePBS) -> None:
    name = submit(pbs, "-o", "missing/x", "ok.sh")
    assert ended(pbs, name)[:2] == (92, 0)
    assert job(pbs, name)["Stageout_status"] == 0
    assert (pbs.directory / "undelivered" / "1.vm.OU").read_text() == "hello\n"


def test_directives(pbs: FakePBS) -> None:
    script = (
        "#!/bin/sh\n# a comment\n\n#PBS -N fromscript\n#PBS -l walltime=100,ncpus=2\n##PBS -N no\ntrue\n#PBS -N late\n"
    )
    Path("d.sh").write_text(script)
    first = job(pbs, submit(pbs, "-h", "d.sh"))
    second = job(pbs, submit(pbs, "-h", "-N", "mine", "-l", "walltime=0:5:0", "d.sh"))
    assert (first["Job_Name"], first["Resource_List"]["walltime"]) == ("fromscript", "00:01:40")
    assert (second["Job_Name"], second["Resource_List"]["walltime"]) == ("mine", "00:05:00")
    assert first["Resource_List"]["select"] == "1:ncpus=2"
    assert job(pbs, submit(pbs, "-h", "-l", "nodes=1:ppn=2", "ok.sh"))["Resource_List"]["ncpus"] == 2


def test_arguments_of_a_program(pbs: FakePBS) -> None:
    program = "import sys; print(sys.argv[1:])"
    submit(pbs, "--", sys.executable, "-c", program, "a b", "", "$X", "*", "'")
    pbs.wait()
    assert Path("STDIN.o1").read_text() == "['a b', '$X', '*', \"'\"]\n"


def test_dependencies(pbs: FakePBS) -> None:
    good, bad = submit(pbs, "-h", "ok.sh"), submit(pbs, "-h", "-v", "R=1", "exit.sh")
    array = submit(pbs, "-h", "-J", "0-1", "ok.sh")
    names = {
        "ok": submit(pbs, "-W", f"depend=afterok:{good}", "ok.sh"),
        "both": submit(pbs, "-W", f"depend=afterok:{good}:{bad}", "ok.sh"),
        "notok": submit(pbs, "-W", f"depend=afternotok:{bad}", "ok.sh"),
        "any": submit(pbs, "-W", f"depend=afterany:{bad},afterok:{array}", "ok.sh"),
        "unknown": submit(pbs, "-W", "depend=afterok:99999", "ok.sh"),
        "wrong": submit(pbs, "-W", "depend=afterok:3", "ok.sh"),
    }
    names["chain"] = submit(pbs, "-W", f"depend=afterany:{names['both']}", "ok.sh")
    record = job(pbs, names["ok"])
    assert (record["job_state"], record["substate"], record["Hold_Types"]) == ("H", 22, "s")
    assert record["depend"] == f"afterok:{good}@vm"
    assert job(pbs, good)["depend"] == f"beforeok:{names['ok']}@vm:{names['both']}@vm"
    for name in ("unknown", "wrong"):
        assert ended(pbs, names[name]) == (92, None, "")
    pbs.run("qrls", good, bad, array)
    pbs.wait()
    for name in ("ok", "notok", "any"):
        assert ended(pbs, names[name])[:2] == (92, 0)
        assert "depend" not in job(pbs, names[name])
    for name in ("both", "chain"):
        assert ended(pbs, names[name]) == (92, None, "")
        assert job(pbs, names[name])["Hold_Types"] == "s"
    late = submit(pbs, "-W", f"depend=afterok:{good}", "ok.sh")
    assert ended(pbs, late)[:2] == (92, 0)


def test_order_holds_and_what_never_runs(pbs: FakePBS) -> None:
    huge = submit(pbs, "-l", "ncpus=100", "ok.sh")
    half = submit(pbs, "-l", "ncpus=3", "sleep.sh")
    wide = submit(pbs, "-l", "ncpus=2", "ok.sh")
    small = submit(pbs, "ok.sh")
    assert job(pbs, huge)["comment"] == ("Can Never Run: Insufficient amount of resource: ncpus (R: 100 A: 1 T: 4)")
    assert [state(pbs, name) for name in (huge, half, wide, small)] == ["Q", "R", "Q", "Q"]
    pbs.run("qhold", small)
    assert state(pbs, small) == "H"
    assert pbs.run("qselect", "-s", "H").stdout == f"{small}\n"
    assert pbs.run("qselect", "-N", "sleep.sh").stdout == f"{half}\n"
    pbs.run("qdel", half)
    until(lambda: state(pbs, wide) == "F")
    assert pbs.run("qselect").stdout.split() == [huge, small]
    pbs.run("qrls", small)
    until(lambda: state(pbs, small) == "F")
    assert pbs.run("qselect", "-x").stdout.split() == [huge, half, wide, small]
    assert pbs.run("qselect", "-x", "-u", "nobody-at-all").stdout == ""


def test_requeue(pbs: FakePBS) -> None:
    name = submit(pbs, "sleep.sh")
    once = submit(pbs, "-r", "n", "sleep.sh")
    until(lambda: state(pbs, name) == "R" and state(pbs, once) == "R")
    done = pbs.run("qrerun", name)
    assert (done.returncode, done.stderr) == (159, f"qrerun: Unauthorized Request  {name}\n")
    pbs.requeue(name)
    until(lambda: job(pbs, name).get("run_count") == 2 and state(pbs, name) == "R")
    record = job(pbs, name)
    assert ("obittime" in record, "Exit_status" in record) == (True, False)
    pbs.preempt(name)
    until(lambda: job(pbs, name).get("run_count") == 3)
    pbs.kill_node(once)
    assert ended(pbs, once)[0] == 91
    pbs.out_of_memory(name)
    assert ended(pbs, name)[:2] == (93, -27)
    pbs.forget(once)
    assert pbs.run("qstat", "-x", once).returncode == 153


def test_blocking_and_later(pbs: FakePBS) -> None:
    done = pbs.run("qsub", "-W", "block=true", "-v", "R=3", "exit.sh")
    assert (done.returncode, done.stdout) == (3, "1.vm\n")
    soon = time.strftime("%Y%m%d%H%M.%S", time.localtime(time.time() + 6))
    name = submit(pbs, "-a", soon, "ok.sh")
    assert state(pbs, name) == "W"
    pbs.wait()  # nobody asks, and it starts all the same
    assert ended(pbs, name)[:2] == (92, 0)


def test_session_of_a_job_ends_with_it(pbs: FakePBS) -> None:
    script = f"#!/bin/sh\nsleep 60 & echo $! > {os.getcwd()}/pid\n"
    submit(pbs, "-N", "x", text=script)
    pbs.wait()
    pid = int(Path("pid").read_text())
    until(lambda: all(row[3] in "ZX" for row in ps._table() if row[0] == pid))


# -- faults ------------------------------------------------------------------------------


def test_commands_that_fail(pbs: FakePBS) -> None:
    pbs.fail_next("qsub", 2, text="qsub: cannot connect to server vm (errno=15010)", code=162)
    for _ in range(2):
        done = pbs.run("qsub", "ok.sh")
        assert (done.returncode, done.stderr) == (162, "qsub: cannot connect to server vm (errno=15010)\n")
    assert submit(pbs, "ok.sh") == "1.vm"
    pbs.flaky("qstat", 0.5, seed=7)
    codes = [pbs.run("qstat").returncode for _ in range(12)]
    assert set(codes) == {0, 1}
    pbs.flaky("qstat", 0.5, seed=7)
    assert [pbs.run("qstat").returncode for _ in range(12)] == codes
    pbs.flaky("qstat", 0.0)
    pbs.slow("qstat", 0.4)
    start = time.monotonic()
    assert pbs.run("qstat").returncode == 0
    assert time.monotonic() - start >= 0.4
    pbs.slow("qstat", 0)
    pbs.banner("Welcome!")
    assert pbs.run("qsub", "ok.sh").stdout == "Welcome!\n2.vm\n"


def test_accepted_without_an_answer(pbs: FakePBS) -> None:
    pbs.accept_but_time_out(1)
    with subprocess.Popen(["qsub", "-N", "unique", "ok.sh"], stdout=subprocess.PIPE) as silent:
        until(lambda: pbs.run("qselect", "-x", "-N", "unique").stdout == "1.vm\n")
        assert silent.poll() is None, "it waits for an answer"
        silent.kill()
        assert silent.communicate()[0] == b""
    pbs.accept_but_time_out(0)  # it may not have been counted yet
    assert submit(pbs, "ok.sh") == "2.vm"


def test_limits(pbs: FakePBS) -> None:
    pbs.submit_limit(3)
    submit(pbs, "-h", "-J", "0-1", "ok.sh")
    done = pbs.run("qsub", "-J", "0-1", "ok.sh")
    assert (done.returncode, done.stderr) == (38, "qsub: would exceed queue workq's per-user limit\n")
    pbs.configure(max_array_size=5)
    pbs.submit_limit(None)
    for options, code, text in (
        ({"queued_threshold": 2}, 38, "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state\n"),
        ({"max_queued_res": {"ncpus": 3}}, 39, "qsub: would exceed per-user limit on resource ncpus in queue workq\n"),
        ({"queue_limits": {"ncpus": 1}}, 188, "qsub: Job violates queue and/or server resource limits\n"),
        ({"disabled_queues": ["workq"]}, 173, "qsub: Queue is not enabled\n"),
        ({"closed_queues": ["workq"]}, 159, "qsub: Unauthorized Request \n"),
    ):
        pbs.configure(**options)
        done = pbs.run("qsub", "-l", "ncpus=2", "ok.sh")
        assert (done.returncode, done.stderr) == (code, text)
        pbs.configure(**{name: FakePBS.defaults[name] for name in options})
    assert pbs.run("qsub", "-J", "0-5", "ok.sh").returncode == 3
    with pytest.raises(TypeError, match="has no option 'nosuch'"):
        pbs.configure(nosuch=1)
    with pytest.raises(TypeError, match="it takes cpus=8"):
        FakePBS(nosuch=1)


def test_down_and_up(pbs: FakePBS) -> None:
    name = submit(pbs, "sleep.sh")
    queued = submit(pbs, "-h", "ok.sh")
    pbs.down()
    lost = "Connection refused\n{}: cannot connect to server vm (errno=15010)\n"
    for words, code, text in (
        (["qsub", "ok.sh"], 162, lost.format("qsub")),
        (["qselect"], 162, lost.format("qselect")),
        (["qstat"], 255, lost.format("qstat")),
        (["qdel", name], 162, "Connection refused\nqdel: Couldn't connect to cluster: vm\n"),
    ):
        done = pbs.run(*words)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", text)
    pbs.up()
    pbs.release(queued)
    assert ended(pbs, queued)[:2] == (92, 0)
    assert state(pbs, name) == "R"


# -- the stand-in itself -------------------------------------------------------------------


def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    place = tmp_path / "with 'quotes' and blanks"
    with FakePBS(place, cpus=2) as pbs:
        daemon = "#!/bin/sh\ntrap '' TERM\n(setsid sleep 60 &)\nsleep 60\n"
        submit(pbs, "-N", "x", "-J", "0-5", text=daemon)
        until(lambda: len(ps.marked(str(place))) >= 8)
        assert os.environ["PATH"].startswith(f"{place}/bin:")
        assert pbs.environment["CLUSTERFUTURES_STANDIN"] == str(place)
        start = time.monotonic()
    assert time.monotonic() - start < 20, "its jobs would take a minute"
    assert dict(os.environ) == before
    assert ps.marked(str(place)) == []
    assert not place.exists()


def test_many_at_once(pbs: FakePBS) -> None:
    calls = [subprocess.Popen(["qsub", "ok.sh"], stdout=subprocess.PIPE, text=True) for _ in range(12)]
    names = {call.communicate()[0].strip() for call in calls}
    assert names == {f"{n}.vm" for n in range(1, 13)}
    array = submit(pbs, "-J", "0-199", "-o", "/dev/null", "-e", "/dev/null", "--", "/bin/true")
    pbs.wait(40)
    assert job(pbs, array)["array_state_count"] == "Queued:0 Running:0 Exiting:0 Expired:0"


def test_a_job_may_submit(pbs: FakePBS) -> None:
    submit(pbs, "-N", "outer", text="#!/bin/sh\necho 'true' | qsub -N inner -o /dev/null -e /dev/null\n")
    until(lambda: len(jobs(pbs, "-x")) == 2)
    pbs.wait()
    assert Path("outer.o1").read_text() == "2.vm\n"
