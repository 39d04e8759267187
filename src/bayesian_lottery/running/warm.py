"""A warm Python for many short jobs: torch is imported once and each job is forked from it.

Importing torch and its optimisers takes 3 to 5 seconds, more than a whole training run of the demo.
`scripts/warm.py COMMAND` runs COMMAND with a server beside it; below it, every script that calls
`delegate` hands itself to the server, which forks a child to run it with the script's own
arguments, working directory, environment and standard streams. Elsewhere `delegate` does nothing.

Signals sent to the script reach the child, a script that is killed takes its child with it, and
the server ends with its command. Only for jobs on the machine of the server: inside a SLURM job
`delegate` does nothing.
"""

import contextlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

VARIABLE = "LOTTERY_WARM_SOCKET"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
LARGEST_REQUEST = 1 << 22


def delegate() -> None:
    """Run this script in the warm server, if there is one, and exit as it did; else return."""
    address = os.environ.get(VARIABLE)
    if not address or "SLURM_JOB_ID" in os.environ:
        return
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(address)
    except OSError:
        return  # the server is gone; this script can run by itself
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    request = {"argv": sys.argv, "cwd": os.getcwd(), "environment": environment}
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_REQUEST)
    # Signals that come before the child is known wait for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
    child = int(connection.recv(64))
    for number in FORWARDED:
        signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    answer = connection.recv(64)
    if not answer:
        os.kill(child, signal.SIGKILL)  # else it would go on beside the job's next attempt
        sys.exit("the warm server ended before this job")
    sys.exit(int(answer))


def run(command: list[str]) -> int:
    """Run `command` with a warm server beside it; its exit status."""
    with tempfile.TemporaryDirectory(prefix="lottery-") as folder:
        address = str(Path(folder) / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(address)
        listener.listen(128)  # jobs that start before torch is imported wait here
        process = subprocess.Popen(command, env={**os.environ, VARIABLE: address})
        for number in FORWARDED:
            signal.signal(number, lambda number, _: process.send_signal(number))
        _Server(listener, process.pid).serve()
        return process.wait()


class _Server:
    """Forks a child a request until the process `command` has ended."""

    def __init__(self, listener: socket.socket, command: int):
        self.listener = listener
        self.command = os.pidfd_open(command)
        self.children: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
        self.selector = selectors.DefaultSelector()

    def serve(self) -> None:
        import torch

        from bayesian_lottery.training import jobs  # noqa: F401  what every job needs

        torch.optim.Adam([torch.zeros(1)])  # makes torch import its compiler
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(self.command, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fd == self.command:
                    return
                key.data(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        message, streams, _, _ = socket.recv_fds(connection, LARGEST_REQUEST, 3)
        pid = os.fork()
        if pid == 0:
            for key in list(self.selector.get_map().values()):
                os.close(key.fd)
            connection.close()
            _become(json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(BrokenPipeError):  # the script was killed; see `_abandoned`
            connection.send(str(pid).encode())
        child = os.pidfd_open(pid)
        self.children[child] = (pid, connection)
        self.selector.register(child, selectors.EVENT_READ, self._ended)
        self.selector.register(
            connection, selectors.EVENT_READ, lambda _, pid=pid: self._abandoned(pid)
        )

    def _abandoned(self, pid: int) -> None:
        """The script was killed: its child goes too, unless it has ended in the same moment."""
        if any(pid == running for running, _ in self.children.values()):
            os.kill(pid, signal.SIGKILL)

    def _ended(self, child: int) -> None:
        pid, connection = self.children.pop(child)
        _, status = os.waitpid(pid, 0)
        self.selector.unregister(child)
        self.selector.unregister(connection)
        os.close(child)
        with contextlib.suppress(BrokenPipeError):  # the script was killed
            connection.send(str(os.waitstatus_to_exitcode(status) % 256).encode())
        connection.close()


def _become(request: dict, streams: list[int]) -> None:
    """Turn this forked child into the script that asked for it."""
    status = 1
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        for number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        import torch

        with contextlib.suppress(ValueError, RuntimeError):  # OpenMP takes more than a number
            torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        sys.argv = request["argv"]
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
