"""The profiles with one service: default, live and observability."""

import time
import urllib.parse

from container import guarded, healthy, state
from stack import docker, run, wait

EVERYTHING = ["btc", "clima", "usd", "viento", "btc_ars"]


def default(stack, report):
    """`docker-compose up`: the service against its own simulated providers."""
    stack.up()
    [providers], [service] = healthy(stack, "simulate"), healthy(stack, "resumen")
    for container in (providers, service):
        guarded(report, container)
    answer, _ = wait("all sources", 30, lambda: sound(stack.json("RESUMEN_PORT", "/resumen")))
    report.check("every source has a value", list(answer["resultados"]) == EVERYTHING, list(answer["resultados"]))
    for path in ("/salud", "/salud/listo", "/salud/fuentes", "/metrics", "/", "/resumen?fresh=1&timeout=3"):
        status, _ = stack.get("RESUMEN_PORT", path)
        report.check(f"GET {path}", status == 200, status)
    offline(stack, report)
    reloaded(stack, report, service)
    restarted(stack, report, service)


def sound(answer):
    """The answer if all of it has values."""
    return answer if all(result["ok"] for result in answer["resultados"].values()) else None


def offline(stack, report):
    """The providers have no way out of their network."""
    internal = docker("network", "inspect", "-f", "{{.Internal}}", f"{stack.project}_providers")
    report.check("the simulated providers cannot reach the world", internal == "true", internal)


def reloaded(stack, report, service):
    """A SIGHUP reads the mounted configuration again."""
    before = metric(stack, "resumen_config_last_reload_success_timestamp_seconds")
    docker("kill", "-s", "HUP", service)
    after, took = wait("the reload", 20, lambda: changed(stack, before))
    report.check("SIGHUP reloads the configuration", after > before, f"after {took:.1f} s")


def changed(stack, before):
    now = metric(stack, "resumen_config_last_reload_success_timestamp_seconds")
    return now if now != before and metric(stack, "resumen_config_last_reload_successful") == 1 else None


def metric(stack, name):
    """The value of a series without labels."""
    _, body = stack.get("RESUMEN_PORT", "/metrics")
    return next(float(line.split()[1]) for line in body.decode().splitlines() if line.startswith(f"{name} "))


def restarted(stack, report, service):
    """A stop ends well and soon; what was known is there again at once, without its providers."""
    start = time.monotonic()
    docker("stop", "-t", "15", service)
    code = state(service)["ExitCode"]
    report.check("it ends by itself when stopped", code == 0, f"exit code {code} after {time.monotonic() - start:.1f} s")
    docker("stop", "-t", "1", *stack.containers("simulate"))
    docker("start", service)
    answer, took = wait("the first answer", 20, lambda: stack.json("RESUMEN_PORT", "/resumen"))
    known = [name for name, result in answer["resultados"].items() if result["ok"]]
    report.check("it knows what it knew, though no provider answers", "clima" in known, f"{known} after {took:.1f} s")


def live(stack, report):
    """`docker-compose up live`: the real providers."""
    stack.up("live")
    [service] = healthy(stack, "live")
    report.check("the simulated providers are left alone", not stack.containers("simulate"))
    guarded(report, service)
    answer = stack.json("LIVE_PORT", "/resumen?timeout=10")
    results = answer["resultados"]
    report.check("all sources of config/resumen.toml are in the answer", list(results) == ["btc", "clima", "usd", "btc_ars"])
    explained = all(result["ok"] or result["code"] for result in results.values())
    report.check("each has a value or says why not", explained, {name: r.get("code", "ok") for name, r in results.items()})
    if not any(result["ok"] for result in results.values()):
        report.unable("values of the real providers: none of them can be reached from here")


def observability(stack, report):
    """Prometheus has its target and its rules, and Grafana its dashboard, where there is an image of it."""
    shown = grafana_image(stack)
    stack.up(*([] if shown else ["prometheus"]), profiles=["observability"])
    [service], [prometheus] = healthy(stack, "resumen"), healthy(stack, "prometheus")
    for container, user in ((service, "65532"), (prometheus, None)):
        guarded(report, container, user)
    target, took = wait("Prometheus to scrape resumen", 90, lambda: up_targets(stack))
    report.check("Prometheus scrapes resumen", True, f"{target} after {took:.0f} s")
    groups = stack.json("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    report.check("its rules are loaded", len(rules) > 5, f"{len(rules)} in {len(groups)} groups")
    wait("every rule to be evaluated", 60, lambda: all(r["health"] != "unknown" for r in rules_of(stack)))
    sick = [rule["name"] for rule in rules_of(stack) if rule["health"] != "ok"]
    report.check("and evaluate", not sick, sick or "all of them")
    values = query(stack, "count(resumen_value)")
    report.check("values are recorded", values and int(values[0]["value"][1]) >= 4, values and values[0]["value"][1])
    grafana(stack, report) if shown else report.unable("Grafana: there is no image of it and none can be had")


def up_targets(stack):
    active = stack.json("PROMETHEUS_PORT", "/api/v1/targets?state=active")["data"]["activeTargets"]
    return [t["scrapeUrl"] for t in active if t["labels"]["job"] == "resumen" and t["health"] == "up"]


def rules_of(stack):
    groups = stack.json("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def query(stack, expression):
    return stack.json("PROMETHEUS_PORT", f"/api/v1/query?query={urllib.parse.quote(expression)}")["data"]["result"]


def grafana_image(stack):
    """Whether Grafana's image is here or can be fetched."""
    wanted = next(line.split()[1] for line in stack.compose("--profile=observability", "config").splitlines()
                  if line.split()[:1] == ["image:"] and "grafana" in line)
    return bool(run(["docker", "image", "inspect", "-f", "{{.Id}}", wanted], check=False)
                or run(["docker", "pull", "-q", wanted], check=False))


def grafana(stack, report):
    """Grafana has found what was provisioned."""
    [container] = healthy(stack, "grafana")
    guarded(report, container, None)
    found, _ = wait("the dashboard", 60, lambda: stack.json("GRAFANA_PORT", "/api/search?type=dash-db"))
    report.check("Grafana has the dashboard", bool(found), [one["title"] for one in found])
