"""Conky, Polybar, Waybar and LibreOffice."""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

from tools import need, run, running, wait


def conky(trial):
    """Conky with its output on the console."""
    program = need("conky", "apt-get install conky-std")
    settings = "conky.config = { out_to_x = false, out_to_console = true, update_interval = 1 }\n"
    config = trial.file("conky.conf", settings + trial.block("Conky", "lua"))
    log = trial.path("conky.log")
    with running([program, "-c", config], log):
        line = wait("Conky prints", 15, lambda: [line for line in log.read_text().splitlines() if f"{trial.btc}" in line])[0]
    trial.check("prints the value", line, f"Bitcoin {trial.btc} USD")


def polybar(trial):
    """Polybar on a virtual X server, with its text on the console."""
    program = need("polybar")
    bar = "[bar/main]\nmodules-left = btc\nwidth = 400\nheight = 20\n"
    config = trial.file("polybar.ini", bar + trial.block("Polybar", "ini"))
    log = trial.path("polybar.log")
    with x_server(trial) as display, running([program, "-c", config, "--stdout", "main"], log, env={**os.environ, "DISPLAY": display}):
        line = wait("Polybar prints", 15, lambda: [line for line in log.read_text().splitlines() if "USD" in line])[0]
    trial.check("prints the value", line, f"%{{l}}{trial.btc} USD%{{PR}}")


def waybar(trial):
    """Waybar in a Wayland compositor without a screen. A copy of what its command prints is taken, as a bar has only pixels."""
    program, compositor = need("waybar"), need("sway")
    config = json.loads(trial.block("Waybar", "json"))
    folder = trial.folder("waybar")
    seen = folder / "seen"
    config["custom/btc"]["exec"] += f" | tee {seen}"
    (folder / "waybar.json").write_text(json.dumps(config))
    (folder / "sway.conf").write_text(f"xwayland disable\nexec {program} -l debug -c {folder}/waybar.json > {folder}/waybar.log 2>&1\n")
    command = [compositor, "-c", folder / "sway.conf"]
    if os.getuid() == 0:
        # sway refuses to run as root.
        shutil.chown(folder, "nobody", "nogroup")
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "WLR_BACKENDS": "headless",
                   "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}
    with running(command, trial.path("sway.log"), env=environment):
        value = wait("Waybar runs its command", 20, lambda: seen.exists() and seen.read_text().strip())
        widget = wait("Waybar has the module", 20, lambda: "label#custom-btc" in (folder / "waybar.log").read_text())
    trial.check("the command of the module gets the value", (value, widget), (f"{trial.btc}", True))


def calc(trial):
    """LibreOffice Calc: the formula as a user types it. A Python with LibreOffice's UNO bridge writes it into a new document."""
    office, python = need("soffice", "apt-get install libreoffice-calc-nogui"), Path("/usr/bin/python3")
    if run([python, "-c", "import uno"], check=False) or "uno" not in run([python, "-c", "import uno; print(uno.__name__)"], check=False):
        need("python3-uno", "apt-get install python3-uno")
    formula = trial.block("Spreadsheets", "calc").strip()
    script = Path(__file__).with_name("type_formula.py")
    output = run([python, script, office, trial.folder("libreoffice"), formula], limit=120)
    trial.check("the cell has the value", output.splitlines()[-1], f"{trial.btc}")


@contextlib.contextmanager
def x_server(trial):
    """A virtual X server; yields its display."""
    program = need("Xvfb", "apt-get install xvfb")
    for number in range(70, 100):
        if not Path(f"/tmp/.X{number}-lock").exists():
            break
    with running([program, f":{number}", "-screen", "0", "800x600x24"], trial.path("xvfb.log")):
        wait("Xvfb listens", 10, lambda: Path(f"/tmp/.X11-unix/X{number}").exists())
        time.sleep(0.2)
        yield f":{number}"
