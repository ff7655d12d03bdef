"""curl, jq, bash, tmux and Python."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

from tools import need, need_venv, run


def curl(trial):
    """One value as text, the exit code while it is missing, and one value by jq."""
    need("curl")
    trial.check("prints the value", run(["sh", "-c", trial.block("Shell", "sh")]), f"{trial.btc}")
    need("jq")
    trial.check("jq prints the value", run(["sh", "-c", trial.block("Shell", "sh", 1)]), f"{trial.btc}")


def bash_prompt(trial):
    """The prompt of an interactive bash."""
    bash = need("bash")
    script = trial.block("Shell", "bash") + 'printf "%s" "${PS1@P}"'
    prompt = run([bash, "--norc", "-c", script])
    trial.check("the prompt begins with the value", prompt.split(" ")[0], f"{trial.btc}")


def tmux(trial):
    """The status line of tmux in a terminal of 100 columns."""
    program = need("tmux")
    config = trial.file("tmux.conf", trial.block("Shell", "tmux"))
    name = f"consumers-{os.getpid()}"
    process, terminal = pty.fork()
    if process == 0:
        os.execve(program, ["tmux", "-L", name, "-f", str(config), "new-session", "cat"], {**os.environ, "TERM": "xterm"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    wanted, screen, end = f"{trial.btc} USD", "", time.monotonic() + 15
    try:
        while wanted not in screen and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                screen += os.read(terminal, 65536).decode(errors="replace")
    finally:
        run([program, "-L", name, "kill-server"], check=False)
        os.close(terminal)
        os.waitpid(process, 0)
    trial.check("the status line shows the value", wanted if wanted in screen else screen[-200:], wanted)


def python(trial):
    """The package requests."""
    folder = need_venv("requests", "requests==2.34.2")
    output = run([folder / "python", trial.file("read.py", trial.block("Python", "python"))])
    trial.check("prints value and state", output, f"{trial.btc} fresh")


def missing_value(trial):
    """The documented behaviour while a source has no value."""
    need("curl")
    with trial.missing_btc():
        done = run(["sh", "-c", trial.block("Shell", "sh").strip() + "; echo $?"])
        trial.check("curl -f exits with 22", done, "22")
        flat = trial.service.json("/resumen?format=flat&sources=btc")
        trial.check("btc.ok is false, and there is no value", (flat["btc.ok"], "btc.usd" in flat), (False, False))


assert sys.version_info >= (3, 11), "Python 3.11 or later is required"
