"""Real programs read the service, with the snippets of docs/consumers.md and the pages for proxies of docs/deploy.md.

    python3 tests/consumers                     all programs
    python3 tests/consumers --only curl         one program; may be given again
    python3 tests/consumers --list              the programs
    python3 tests/consumers --program target/release/resumen

Programs come from the PATH; Python and npm packages are installed in target/consumers. A program that is missing is listed as
skipped. Exit code: 0 if all checks passed, 1 if one failed.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "stack"))

import dashboards  # noqa: E402 # after the path of `report`
import desktop_programs  # noqa: E402
import home_programs  # noqa: E402
import proxies  # noqa: E402
import shell_programs  # noqa: E402
import web_programs  # noqa: E402
from page import Page  # noqa: E402
from report import Report  # noqa: E402
from service import Service, build  # noqa: E402
from tools import Missing  # noqa: E402
from trial import Trial  # noqa: E402

PROGRAMS = {
    "curl": shell_programs.curl,
    "bash": shell_programs.bash_prompt,
    "tmux": shell_programs.tmux,
    "python": shell_programs.python,
    "missing-value": shell_programs.missing_value,
    "page": web_programs.web_page,
    "node": web_programs.node,
    "home-assistant": home_programs.home_assistant,
    "esphome": home_programs.esphome,
    "esp32": home_programs.esp32,
    "node-red": web_programs.node_red,
    "magicmirror": web_programs.magic_mirror,
    "prometheus": dashboards.prometheus,
    "grafana": dashboards.grafana,
    "glance": dashboards.glance,
    "homepage": dashboards.homepage,
    "homarr": dashboards.homarr,
    "waybar": desktop_programs.waybar,
    "polybar": desktop_programs.polybar,
    "conky": desktop_programs.conky,
    "calc": desktop_programs.calc,
    "nginx": proxies.nginx,
    "haproxy": proxies.haproxy,
    "caddy": proxies.caddy,
}


def main():
    arguments = parse()
    if arguments.list:
        print("\n".join(PROGRAMS))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    report, page = Report(), Page("consumers.md")
    program = arguments.program or build()
    with tempfile.TemporaryDirectory(prefix="consumers-") as folder:
        # Waybar runs as another user, who has to reach its folder.
        Path(folder).chmod(0o755)
        for name in arguments.only or PROGRAMS:
            report.heading(name)
            run_trial(PROGRAMS[name], name, program, page, report, Path(folder, name))
    sys.exit(report.summarise())


def run_trial(test, name, program, page, report, folder):
    """Runs the test of one program with a service of its own."""
    folder.mkdir()
    try:
        with Service(program, folder, 'cors_origins = ["*"]') as service:
            test(Trial(page, service, report, folder))
    except Missing as missing:
        report.skip(f"{name}: {missing}")
    except Exception as error:  # noqa: BLE001 # the next program is tested in any case
        report.check("no error", False, f"{type(error).__name__}: {error}")
        for log in folder.glob("*.log"):
            report.log(f"{log.name}: {log.read_text()[-1500:]}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PROGRAMS, metavar="PROGRAM", help="only this program; may be given again")
    parser.add_argument("--list", action="store_true", help="list the programs")
    parser.add_argument("--program", type=lambda text: Path(text).resolve(), help="test this program instead of building one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
