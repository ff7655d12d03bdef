"""Prometheus, Grafana's expressions, and the dashboards whose snippets are checked without the program."""

import json
import os
import re
import time
import urllib.parse
from pathlib import Path

from service import get
from tools import INSTALLED, free_port, need, need_npm, need_venv, run, running, wait
from web_programs import find_node


def prometheus(trial):
    """Prometheus scrapes the service and answers the query."""
    program = need("prometheus")
    config = trial.file("prometheus.yml", "global:\n  scrape_interval: 1s\n" + trial.block("Prometheus", "yaml"))
    address = f"127.0.0.1:{free_port()}"
    query = urllib.parse.urlencode({"query": trial.block("Prometheus", "promql").strip()})
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={trial.folder('prometheus')}", f"--web.listen-address={address}"]
    with running(command, trial.path("prometheus.log")):
        result = wait("Prometheus has the value", 60,
                      lambda: json.loads(get(f"http://{address}/api/v1/query?{query}")[1])["data"]["result"])
    trial.check("answers the query", [entry["value"][1] for entry in result], [f"{trial.btc}"])


def grafana(trial):
    """The expressions of the Grafana plugins, evaluated by jq and by the plugins' JavaScript libraries."""
    summary = trial.file("summary.json", trial.service.get("/resumen")[1].decode())
    rows = json.loads(run([need("jq"), "-c", trial.block("Grafana", "jq"), summary]))
    found = {row["source"]: (row["ok"], row["data"]) for row in rows}
    trial.check("Infinity with JQ has a row for each source", found["btc"], (True, {"usd": trial.btc}))
    trial.check("in order", list(found), ["btc", "clima", "usd", "btc_ars"])
    folder = need_npm("grafana", "jsonata@2.2.2", "jsonpath-plus@10.4.0")
    flat = trial.file("flat.json", trial.service.get("/resumen?format=flat")[1].decode())
    script = folder / "evaluate.mjs"
    script.write_text("""
        import fs from "node:fs";
        import jsonata from "jsonata";
        import { JSONPath } from "jsonpath-plus";
        const [summary, flat, expression, path] = process.argv.slice(2);
        const read = (file) => JSON.parse(fs.readFileSync(file));
        const value = await jsonata(expression).evaluate(read(summary));
        console.log(JSON.stringify([value, JSONPath({ path, json: read(flat) })]));
    """)
    expressions = [trial.block("Grafana", language).strip() for language in ("jsonata", "jsonpath")]
    value, list_of_values = json.loads(run([find_node(), script, summary, flat, *expressions]))
    trial.check("Infinity with JSONata has the values", value, {"btc": trial.btc, "clima": trial.providers.celsius})
    trial.check("JSON API has the value", list_of_values, [trial.btc])


def glance(trial):
    """The template, executed by Go and gjson like in Glance, on the answer of the snippet's URL."""
    go = need("go", "apt-get install golang-go golang-github-tidwall-gjson-dev")
    widget = load_yaml(trial, trial.block("Glance", "yaml"))[0]
    trial.check("is a custom API widget", widget["type"], "custom-api")
    template = trial.file("glance.html", widget["template"])
    # Debian's Go libraries are a GOPATH.
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(INSTALLED / "go"), "GOFLAGS": ""}
    program = trial.path("glance")
    run([go, "build", "-o", program, Path(__file__).with_name("glance.go")], limit=300, env=environment)

    def render():
        return run([program, template, trial.file("glance.json", get(widget["url"])[1].decode())])

    trial.check("shows the value", re.search(r">(\S+) USD<", render())[1], f"{trial.btc:.2f}")
    age = time.time() - int(re.search(r'relative-time="(\d+)"', render())[1])
    trial.check(f"shows the age: {age:.0f} s", -1 < age < 10, True)
    with trial.missing_btc():
        trial.check("shows the error", "HTTP 503 Service Unavailable" in render(), True)


def homepage(trial):
    """The fields of the mappings, which Homepage reads as keys of the answer."""
    widget = load_yaml(trial, trial.block("Homepage", "yaml"))[0]["Values"][0]["resumen"]["widget"]
    trial.check("is a custom API widget", widget["type"], "customapi")
    answer = json.loads(get(widget["url"])[1])
    found = [answer[mapping["field"]] for mapping in widget["mappings"]]
    trial.check("the answer has the values", found, [trial.btc, trial.providers.celsius])


def homarr(trial):
    """The request of the custom widget, and the value that its template shows."""
    widget = json.loads(trial.block("Homarr", "json"))
    source, request = widget["sources"]["default"], widget["requests"]["btc"]
    answer = json.loads(get(source["baseUrl"] + request["path"])[1])
    keys = re.search(r"\{data\.btc\?\.(\w+) \?\?", widget["template"]).groups()
    trial.check("the answer has the value", look_up(answer, keys), trial.btc)


def look_up(value, keys):
    """The value below these keys, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def load_yaml(trial, text):
    """The content of a YAML document."""
    python = need_venv("yaml", "pyyaml==6.0.3") / "python"
    script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
    return json.loads(run([python, "-c", script, trial.file("snippet.yaml", text)]))
