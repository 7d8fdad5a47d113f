"""The test's end of a process that runs `shm_child.py`."""

import json
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("shm_child.py")


class Process:
    """A child process and the line protocol to it."""

    def __init__(self, how, fd):
        self.popen = subprocess.Popen(
            [sys.executable, str(SCRIPT), how, str(fd)], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self):
        return json.loads(self.popen.stdout.readline())

    def ask(self, *request):
        self.popen.stdin.write(json.dumps(request) + "\n")
        self.popen.stdin.flush()
        return self.answer()

    def kill(self):
        self.popen.kill()
        assert self.popen.wait() == -signal.SIGKILL

    def end(self):
        """Kill it if it still runs, and close its pipes."""
        self.popen.kill()
        self.popen.communicate()
