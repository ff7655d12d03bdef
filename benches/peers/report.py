"""Slices as a Markdown table."""

from statistics import median


def verdict(slices):
    """What one server's slices say together."""
    requests = sum(one.requests for one in slices)
    seconds = sum(one.seconds for one in slices)
    return {
        "cpu": sum(one.cpu for one in slices) / max(requests, 1) * 1e6,
        "rate": requests / max(seconds, 1e-9),
        "p50": median(one.p50 for one in slices),
        "p99": median(one.p99 for one in slices),
        "p999": median(one.p999 for one in slices),
        "errors": sum(one.errors for one in slices),
        "foreign": sum(one.foreign * one.seconds for one in slices) / max(seconds, 1e-9),
        "slices": len(slices),
    }


HEADS = ["", "CPU per request", "× nginx `return`", "requests/s", "p50", "p99", "p99.9", "errors", "others on its core"]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def table(results, unit, timed=True):
    """`results`: name → slices. `unit` is the name that the ratios are against. `timed`: whether the latencies count."""
    rows = [line(HEADS), line(["---"] + ["--:"] * (len(HEADS) - 1))]
    verdicts = {name: verdict(slices) for name, slices in results.items() if slices}
    base = verdicts.get(unit, {}).get("cpu")
    for name, one in verdicts.items():
        ratio = f"{one['cpu'] / base:.2f}" if base else ""
        rows.append(line([
            name, f"{one['cpu']:.2f} µs", ratio, f"{one['rate']:,.0f}",
            *(f"{one[key]:.2f} ms" if timed else "–" for key in ("p50", "p99", "p999")),
            str(one["errors"]), f"{one['foreign']:.0%}",
        ]))
    return "\n".join(rows)
