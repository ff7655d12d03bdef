"""Home Assistant, ESPHome and an ESP32."""

import re
from pathlib import Path

from tools import need, need_venv, run, running, wait

STATE = re.compile(r"state_changed.*?entity_id=(sensor\.\w+),.*new_state=<state sensor\.\w+=([^;]*);")

# What a device needs beside the snippet.
DEVICE = """
esphome: { name: wall }
esp32: { board: esp32dev, framework: { type: esp-idf } }
wifi: { ssid: home, password: 0123456789 }
"""


def home_assistant(trial):
    """Home Assistant with both snippets. Its states are those of the event bus, in its log."""
    hass = need_venv("homeassistant", "homeassistant", python=trial.newest_python()) / "hass"
    folder = trial.folder("homeassistant")
    snippets = trial.block("Home Assistant", "yaml") + trial.block("Home Assistant", "yaml", 1)
    assert snippets.count("scan_interval: 30") == 2
    logger = "logger:\n  default: warning\n  logs:\n    homeassistant.core: debug\n"
    (folder / "configuration.yaml").write_text(logger + snippets.replace("scan_interval: 30", "scan_interval: 2"))
    log = trial.path("homeassistant.log")
    wanted = {
        "sensor.bitcoin": f"{trial.btc}",
        "sensor.buenos_aires": f"{trial.providers.celsius}",
        "sensor.dollar": f"{trial.providers.ars}",
        "sensor.bitcoin_in_pesos": f"{round(trial.btc * trial.providers.ars, 2)}",
    }

    def states():
        found = {match[1]: match[2] for match in STATE.finditer(log.read_text())}
        return {name: found.get(name) for name in wanted}

    # At its first start Home Assistant installs what its integrations need from PyPI.
    with running([hass, "-c", folder], log):
        wait("all sensors have a number", 300, lambda: not {None, "unknown", "unavailable"} & set(states().values()))
        trial.check("the sensors have the values", states(), wanted)
        with trial.missing_btc():
            wait("the sensor is unavailable", 60, lambda: states()["sensor.bitcoin"] == "unavailable")
            trial.check("the sensor has no state without a value", states()["sensor.bitcoin"], "unavailable")
        wait("the sensor recovers", 60, lambda: states()["sensor.bitcoin"] == f"{trial.btc}")


def esphome(trial):
    """ESPHome's own validation of the snippet in the configuration of an ESP32."""
    program = need_venv("esphome", "esphome", python=trial.newest_python()) / "esphome"
    config = trial.file("esphome/wall.yaml", DEVICE + trial.block("ESPHome", "yaml"))
    output = run([program, "config", config], limit=300)
    url = f"url: {trial.service.url}/valor/btc/usd"
    trial.check("the configuration is valid", url in output and "max_response_buffer_size: 1000" in output, True)


def esp32(trial):
    """The C++ snippets, compiled with stand-ins for `HTTPClient.h` and `WiFi.h` that use sockets of this machine."""
    compiler = need("g++")
    snippets = trial.block("ESP32 in C++", "cpp") + trial.block("ESP32 in C++", "cpp", 1)
    main = """
    #include <cstdio>
    int main() {
      static char buffer[1024];
      size_t length = readSummary(buffer);
      printf("%.2f %zu %s\\n", readBitcoin(), length, buffer);
    }
    """
    source, program = trial.file("esp32.cpp", snippets + main), trial.path("esp32")
    run([compiler, "-std=c++17", "-Wall", "-Werror", "-I", Path(__file__).with_name("arduino"), "-o", program, source])
    value, length, body = run([program]).split(" ", 2)
    # The device computes with 32 bits.
    trial.check("the value of the device is that of the source, within the precision of a float", abs(float(value) - trial.btc) < 0.01, True)
    trial.check("the summary fits the buffer", (len(body) == int(length), f'"btc.usd":{trial.btc}' in body), (True, True))
