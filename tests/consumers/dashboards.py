"""Prometheus, Grafana's expressions, and the dashboards whose snippets are checked without the program."""

import json
import re
import urllib.parse

from service import get
from tools import free_port, need, need_npm, need_venv, run, running, wait
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
    """The paths of the template, read in the answer of the snippet's URL as Glance's library gjson reads them."""
    widget = load_yaml(trial, trial.block("Glance", "yaml"))[0]
    trial.check("is a custom API widget", widget["type"], "custom-api")
    status, body = get(widget["url"])
    paths = re.findall(r'\.JSON\.(Bool|Float|String) "([^"]+)"', widget["template"])
    found = {path: look_up(json.loads(body), path.split(".")) for _, path in paths}
    trial.check("the answer has the value", (status, found["resultados.btc.data.usd"]), (200, trial.btc))
    trial.check("the state is a boolean", found["resultados.btc.ok"], True)
    trial.check("the time is RFC 3339", bool(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", found["resultados.btc.fetched_at"])), True)


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
