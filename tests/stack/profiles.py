"""The profiles with one service: default, live and observability."""

import time
import urllib.parse

from container import check_confinement, healthy, state
from stack import docker, run, wait

ALL_SOURCES = ["btc", "clima", "usd", "viento", "btc_ars"]


def default(stack, report):
    """`docker-compose up`: the service with simulated providers."""
    stack.up()
    [providers], [service] = healthy(stack, "simulate"), healthy(stack, "resumen")
    for container in (providers, service):
        check_confinement(report, container)
    response, _ = wait("all sources", 30, lambda: if_complete(stack.json("RESUMEN_PORT", "/resumen")))
    report.check("every source has a value", list(response["resultados"]) == ALL_SOURCES, list(response["resultados"]))
    for path in ("/salud", "/salud/listo", "/salud/fuentes", "/metrics", "/", "/resumen?fresh=1&timeout=3"):
        status, _ = stack.get("RESUMEN_PORT", path)
        report.check(f"GET {path}", status == 200, status)
    check_isolation(stack, report)
    check_reload(stack, report, service)
    check_restart(stack, report, service)


def if_complete(response):
    """The response if every source has a value, else None."""
    return response if all(result["ok"] for result in response["resultados"].values()) else None


def check_isolation(stack, report):
    """The network of the simulated providers is internal."""
    internal = docker("network", "inspect", "-f", "{{.Internal}}", f"{stack.project}_providers")
    report.check("the simulated providers have no route to other networks", internal == "true", internal)


def check_reload(stack, report, service):
    """SIGHUP reloads the mounted configuration."""
    before = metric(stack, "resumen_config_last_reload_success_timestamp_seconds")
    docker("kill", "-s", "HUP", service)
    after, took = wait("the reload", 20, lambda: new_timestamp(stack, before))
    report.check("SIGHUP reloads the configuration", after > before, f"after {took:.1f} s")


def new_timestamp(stack, before):
    now = metric(stack, "resumen_config_last_reload_success_timestamp_seconds")
    return now if now != before and metric(stack, "resumen_config_last_reload_successful") == 1 else None


def metric(stack, name):
    """The value of a series without labels."""
    _, body = stack.get("RESUMEN_PORT", "/metrics")
    return next(float(line.split()[1]) for line in body.decode().splitlines() if line.startswith(f"{name} "))


def check_restart(stack, report, service):
    """The service stops with exit code 0, and restores its readings without the providers."""
    start = time.monotonic()
    docker("stop", "-t", "15", service)
    code = state(service)["ExitCode"]
    report.check("SIGTERM ends the service", code == 0, f"exit code {code} after {time.monotonic() - start:.1f} s")
    docker("stop", "-t", "1", *stack.containers("simulate"))
    docker("start", service)
    response, took = wait("the first response", 20, lambda: stack.json("RESUMEN_PORT", "/resumen"))
    restored = [name for name, result in response["resultados"].items() if result["ok"]]
    report.check("readings are restored without providers", "clima" in restored, f"{restored} after {took:.1f} s")


def live(stack, report):
    """`docker-compose up live`: the real providers."""
    stack.up("live")
    [service] = healthy(stack, "live")
    report.check("the simulated providers do not run", not stack.containers("simulate"))
    check_confinement(report, service)
    response = stack.json("LIVE_PORT", "/resumen?timeout=10")
    results = response["resultados"]
    report.check("the response has all sources of config/resumen.toml", list(results) == ["btc", "clima", "usd", "btc_ars"])
    is_explained = all(result["ok"] or result["code"] for result in results.values())
    report.check("each source has a value or a code", is_explained, {name: r.get("code", "ok") for name, r in results.items()})
    if not any(result["ok"] for result in results.values()):
        report.skip("values of the real providers: no provider is reachable")


def observability(stack, report):
    """Prometheus has its target and its rules, and Grafana its dashboard."""
    has_grafana = has_grafana_image(stack)
    stack.up(*([] if has_grafana else ["prometheus"]), profiles=["observability"])
    [service], [prometheus] = healthy(stack, "resumen"), healthy(stack, "prometheus")
    for container, user in ((service, "65532"), (prometheus, None)):
        check_confinement(report, container, user)
    target, took = wait("Prometheus to scrape resumen", 90, lambda: up_targets(stack))
    report.check("Prometheus scrapes resumen", True, f"{target} after {took:.0f} s")
    groups = stack.json("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    report.check("its rules are loaded", len(rules) > 5, f"{len(rules)} in {len(groups)} groups")
    wait("every rule to be evaluated", 60, lambda: all(r["health"] != "unknown" for r in rules_of(stack)))
    failing = [rule["name"] for rule in rules_of(stack) if rule["health"] != "ok"]
    report.check("its rules evaluate without errors", not failing, failing or "all")
    values = query(stack, "count(resumen_value)")
    report.check("values are recorded", values and int(values[0]["value"][1]) >= 4, values and values[0]["value"][1])
    check_grafana(stack, report) if has_grafana else report.skip("Grafana: its image is not available")


def up_targets(stack):
    active = stack.json("PROMETHEUS_PORT", "/api/v1/targets?state=active")["data"]["activeTargets"]
    return [t["scrapeUrl"] for t in active if t["labels"]["job"] == "resumen" and t["health"] == "up"]


def rules_of(stack):
    groups = stack.json("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def query(stack, expression):
    return stack.json("PROMETHEUS_PORT", f"/api/v1/query?query={urllib.parse.quote(expression)}")["data"]["result"]


def has_grafana_image(stack):
    """Whether the image of Grafana is present or can be pulled."""
    image = next(line.split()[1] for line in stack.compose("--profile=observability", "config").splitlines()
                  if line.split()[:1] == ["image:"] and "grafana" in line)
    return bool(run(["docker", "image", "inspect", "-f", "{{.Id}}", image], check=False)
                or run(["docker", "pull", "-q", image], check=False))


def check_grafana(stack, report):
    """Grafana has the provisioned dashboard."""
    [container] = healthy(stack, "grafana")
    check_confinement(report, container, None)
    found, _ = wait("the dashboard", 60, lambda: stack.json("GRAFANA_PORT", "/api/search?type=dash-db"))
    report.check("Grafana has the dashboard", bool(found), [dashboard["title"] for dashboard in found])
