"""The warm server: a script run through it behaves as one run by itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bayesian_lottery.running import warm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, signal, sys, time
from bayesian_lottery.running import warm
warm.delegate()
assert "torch" in sys.modules, "this ran by itself"
import torch
if sys.argv[1] == "say":
    print(os.getcwd(), os.environ["WORD"], torch.get_num_threads(), sys.stdin.read())
    print("to stderr", file=sys.stderr)
elif sys.argv[1] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print(os.getpid(), flush=True)
    time.sleep(60)
elif sys.argv[1] == "text":
    sys.exit("one sentence")
elif sys.argv[1] == "raise":
    raise ValueError("what went wrong")
"""


@pytest.fixture(scope="module")
def server():
    """The environment of a command that runs beside a server."""
    command = ["sh", "-c", f"echo ${warm.VARIABLE}; exec cat"]
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts/warm.py", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    address = process.stdout.readline().strip()
    yield {**os.environ, warm.VARIABLE: address, "WORD": "hello", "OMP_NUM_THREADS": "1"}
    process.stdin.close()
    assert process.wait(30) == 0
    assert not Path(address).exists()


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return [sys.executable, path]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_streams_directory_environment_and_arguments_are_the_scripts_own(server, script, tmp_path):
    done = subprocess.run(
        [*script, "say"], env=server, cwd=tmp_path, input="typed", capture_output=True, text=True
    )
    assert done.stdout.split() == [str(tmp_path), "hello", "1", "typed"]
    assert done.stderr == "to stderr\n" and done.returncode == 0


@pytest.mark.parametrize("threads", ["4,2", "many", "0", ""])
def test_whatever_openmp_is_told_scripts_run(server, script, threads):
    environment = {**server, "OMP_NUM_THREADS": threads}
    done = subprocess.run([*script, "say"], env=environment, input="", capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("what", "expected"), [("text", "one sentence\n"), ("raise", "went wrong")]
)
def test_failures_are_told(server, script, what, expected):
    done = subprocess.run([*script, what], env=server, capture_output=True, text=True)
    assert done.returncode == 1 and expected in done.stderr


def test_signals_reach_the_child_and_a_killed_script_takes_it_along(server, script):
    for number, expected in ((signal.SIGTERM, 7), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen([*script, "wait"], env=server, stdout=subprocess.PIPE, text=True)
        child = int(process.stdout.readline())
        assert child != process.pid and alive(child)
        process.send_signal(number)
        assert process.wait(10) == expected
        end = time.monotonic() + 10
        while alive(child):
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_script_killed_before_it_knows_its_child_takes_it_along(server, script, tmp_path):
    argv, environment = [str(script[1]), "wait"], dict(os.environ)
    request = {"argv": argv, "cwd": str(tmp_path), "environment": environment}
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(server[warm.VARIABLE])
        socket.send_fds(connection, [json.dumps(request).encode()], [0, writing, 2])
    os.close(writing)
    with open(reading) as output:  # ends with the child, which might sleep for a minute
        started = time.monotonic()
        output.read()
    assert time.monotonic() - started < 30
    done = subprocess.run([*script, "say"], env=server, input="", capture_output=True)
    assert done.returncode == 0


def test_without_a_server_or_inside_slurm_a_script_runs_by_itself(server, script):
    for environment in ({**server, "SLURM_JOB_ID": "1"}, {**server, warm.VARIABLE: "/nowhere"}):
        done = subprocess.run([*script, "say"], env=environment, capture_output=True, text=True)
        assert "this ran by itself" in done.stderr
