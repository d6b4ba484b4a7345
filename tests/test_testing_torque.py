"""The stand-in for Torque: what differs from PBS Pro, in the texts that its users report."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from scheduler_programs import a_place_of_its_own, until

from clusterfutures.testing import FakeTorque


@pytest.fixture
def torque(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTorque]:
    a_place_of_its_own(tmp_path, monkeypatch)
    with FakeTorque(cpus=4, kill_delay=0.3) as standin:
        yield standin
        assert standin.errors() == ""


def submit(torque: FakeTorque, *words: str, text: str = "") -> str:
    done = torque.run("qsub", *words, text=text)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout[:-1]


def jobs(torque: FakeTorque, *words: str) -> dict[str, dict[str, str]]:
    done = torque.run("qstat", "-x", *words)
    if not done.stdout:
        return {}
    found = ET.fromstring(done.stdout)
    assert found.tag == "Data"
    return {
        item.findtext("Job_Id", ""): {field.tag: "".join(field.itertext()) for field in item}
        for item in found.findall("Job")
    }


def ended(torque: FakeTorque, name: str) -> dict[str, str]:
    seen: dict[str, dict[str, str]] = {}

    def over() -> bool:
        seen.update(jobs(torque, name))
        return seen[name]["job_state"] == "C"

    until(over)
    return seen[name]


def test_ids_states_and_formats(torque: FakeTorque) -> None:
    assert torque.run("qstat", "-x").stdout == ""  # no jobs: no XML either
    assert submit(torque, "ok.sh") == "1.vm"
    assert submit(torque, "-t", "0-3%2", "ok.sh") == "2[].vm"
    assert submit(torque, "-t", "0", "ok.sh") == "3[].vm"
    assert submit(torque, "-t", "1,3,5-6", "ok.sh") == "4[].vm"
    torque.wait()
    record = jobs(torque, "1")["1.vm"]
    assert (record["job_state"], record["exit_status"], record["queue"]) == ("C", "0", "batch")
    assert record["Output_Path"] == f"localhost:{os.getcwd()}/ok.sh.o1"
    assert list(jobs(torque)) == ["1.vm", "2[].vm", "3[].vm", "4[].vm"]
    expanded = jobs(torque, "-t", "2[]", "4[].vm")
    assert list(expanded) == [f"2[{n}].vm" for n in range(4)] + [f"4[{n}].vm" for n in (1, 3, 5, 6)]
    assert (expanded["2[3].vm"]["job_array_id"], expanded["2[3].vm"]["Job_Name"]) == ("3", "ok.sh-3")
    assert "\n    exit_status = 0\n" in torque.run("qstat", "-f", "1").stdout
    assert "2[].vm " in torque.run("qstat").stdout
    assert Path("ok.sh.o2-3").read_text() == "hello\n"
    done = torque.run("qstat", "-f", "-F", "json")
    assert (done.returncode, done.stdout) == (2, "")
    done = torque.run("qstat", "--version")
    assert (done.stdout + done.stderr).startswith("Version: 6.1.2\nCommit: ")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["-J", "0-3", "ok.sh"], 2, "qsub: invalid option -- 'J'\n"),
        (["-N", "x" * 16, "ok.sh"], 2, "qsub: illegal -N value\n"),
        (["-N", "1x", "ok.sh"], 2, "qsub: illegal -N value\n"),
        (["-t", "0-0", "ok.sh"], 235, "qsub: submit error (Bad Job Array Request)\n"),
        (["-q", "nosuch", "ok.sh"], 172, "qsub: submit error (Unknown queue MSG=cannot locate queue)\n"),
        (
            ["-l", "select=1:ncpus=1", "ok.sh"],
            189,
            "qsub: submit error (Unknown resource type  MSG=Resource_List.select)\n",
        ),
        (
            ["-l", "nodes=1:ppn=1:mem=4gb", "ok.sh"],
            190,
            "qsub: submit error (Job exceeds queue resource limits MSG=cannot locate feasible nodes "
            "(nodes file is empty or all systems are busy))\n",
        ),
        (["nosuchfile.sh"], 1, "qsub: script file:: No such file or directory\n"),
    ],
)
def test_what_qsub_refuses(torque: FakeTorque, words: list[str], code: int, text: str) -> None:
    done = torque.run("qsub", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(text)
    assert code == 2 or done.stderr == text


def test_limits(torque: FakeTorque) -> None:
    torque.submit_limit(2)
    done = torque.run("qsub", "-t", "0-2", "ok.sh")
    assert done.returncode == 228
    assert done.stderr.startswith("qsub: submit error (Maximum number of jobs already in queue for user MSG=")
    torque.submit_limit(None)
    torque.configure(max_job_array_size=2)
    done = torque.run("qsub", "-t", "0-2", "ok.sh")
    assert (done.returncode, done.stderr) == (
        235,
        "qsub: submit error (Bad Job Array Request MSG=Requested array size too large, limit is 2)\n",
    )
    assert "max_job_array_size = 2\n" in torque.run("qmgr", "-c", "list server max_job_array_size").stdout


def test_environment(torque: FakeTorque) -> None:
    script = '#!/bin/sh\npwd; echo "$PBS_ARRAYID|$PBS_JOBID|$PBS_NP|$PBS_ARRAY_INDEX|$MINE|$PBS_VERSION"\n'
    words = ["-N", "e", "-l", "nodes=1:ppn=2", "-l", "mem=1gb", "-v", "MINE=1", "-o", f"{os.getcwd()}/$PBS_JOBID.out"]
    submit(torque, *words, "-t", "4", text=script)
    submit(torque, "-N", "d", "-d", os.getcwd(), text=script)
    torque.wait()
    assert Path("1[4].vm.out-4").read_text() == f"{Path.home()}\n4|1[4].vm|2||1|TORQUE-6.1.2\n"
    assert Path("d.o2").read_text() == f"{os.getcwd()}\n|2.vm|1|||TORQUE-6.1.2\n"


def test_how_jobs_end(torque: FakeTorque) -> None:
    failed = submit(torque, "-N", "x", text="#!/bin/sh\nexit 3\n")
    killed = submit(torque, "sleep.sh")
    limit = submit(torque, "-l", "walltime=1", "sleep.sh")
    memory = submit(torque, "sleep.sh")
    queued = submit(torque, "-h", "ok.sh")
    until(lambda: [jobs(torque, name)[name]["job_state"] for name in (killed, memory)] == list("RR"))
    assert jobs(torque, queued)[queued]["job_state"] == "H"
    torque.out_of_memory(memory)
    done = torque.run("qdel", killed, queued, "99")
    assert (done.returncode, done.stderr) == (153, "qdel: Unknown Job Id 99.vm\n")
    statuses = [ended(torque, name).get("exit_status") for name in (failed, killed, limit, memory, queued)]
    assert statuses == ["3", "271", "-11", "-10", None]
    done = torque.run("qdel", failed)
    assert (done.returncode, done.stderr) == (
        170,
        f"qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE {failed}\n",
    )


def test_jobs_are_forgotten_soon(torque: FakeTorque) -> None:
    torque.configure(keep_completed=3.0)
    name = submit(torque, "ok.sh")
    array = submit(torque, "-t", "0-1", text="#!/bin/sh\n[ $PBS_ARRAYID = 1 ] || exit 0\nsleep 60\n")
    assert ended(torque, name)["exit_status"] == "0"
    until(lambda: torque.run("qstat", name).returncode == 153)
    assert torque.run("qstat", name).stderr == f"qstat: Unknown Job Id {name}\n"
    until(lambda: list(jobs(torque, "-t", array)) == ["2[1].vm"])  # each element for itself
    assert torque.run("qstat", "2[0].vm").returncode == 153
    assert torque.run("qdel", array).returncode == 0
    until(lambda: torque.run("qstat", "-x").stdout == "")


def test_dependencies_and_holds(torque: FakeTorque) -> None:
    array = submit(torque, "-h", "-t", "0-1", "ok.sh")
    after = submit(torque, "-W", f"depend=afterokarray:{array}", "ok.sh")
    assert jobs(torque, after)[after]["job_state"] == "H"
    assert torque.run("qrls", array).returncode == 0
    assert ended(torque, after)["exit_status"] == "0"


def test_requeue_and_down(torque: FakeTorque) -> None:
    name = submit(torque, "sleep.sh")
    until(lambda: jobs(torque, name)[name]["job_state"] == "R")
    torque.requeue(name)
    until(lambda: jobs(torque, name)[name].get("start_count") == "2")
    torque.down()
    done = torque.run("qsub", "ok.sh")
    assert (done.returncode, done.stderr) == (
        111,
        "qsub: cannot connect to server vm (errno=111) Connection refused\n",
    )
    torque.up()
    torque.forget(name)
    assert torque.run("qstat", name).returncode == 153


def test_xml_as_it_comes(torque: FakeTorque) -> None:
    submit(torque, "-h", "-v", "A=<&>", "ok.sh")
    assert "A=<&>" in jobs(torque)["1.vm"]["Variable_List"]
    submit(torque, "-h", "-v", "A=\x01", "ok.sh")
    with pytest.raises(ET.ParseError):  # as in life: control characters are not escaped
        jobs(torque)
