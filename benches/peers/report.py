"""Measured slices as a Markdown table."""

from statistics import median


def summarize(slices):
    """Returns the sums and medians of the slices of entry server."""
    requests = sum(entry.requests for entry in slices)
    seconds = sum(entry.seconds for entry in slices)
    return {
        "cpu": sum(entry.cpu for entry in slices) / max(requests, 1) * 1e6,
        "rate": requests / max(seconds, 1e-9),
        "p50": median(entry.p50 for entry in slices),
        "p99": median(entry.p99 for entry in slices),
        "p999": median(entry.p999 for entry in slices),
        "errors": sum(entry.errors for entry in slices),
        "other": sum(entry.other * entry.seconds for entry in slices) / max(seconds, 1e-9),
        "slices": len(slices),
    }


HEADS = ["", "CPU per request", "× nginx `return`", "requests/s", "p50", "p99", "p99.9", "errors", "others on its core"]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def table(results, unit, timed=True):
    """Renders `results`, name → slices. `unit` is the name with ratio 1. `timed`: whether the latencies are valid."""
    rows = [line(HEADS), line(["---"] + ["--:"] * (len(HEADS) - 1))]
    summaries = {name: summarize(slices) for name, slices in results.items() if slices}
    base = summaries.get(unit, {}).get("cpu")
    for name, entry in summaries.items():
        ratio = f"{entry['cpu'] / base:.2f}" if base else ""
        rows.append(line([
            name, f"{entry['cpu']:.2f} µs", ratio, f"{entry['rate']:,.0f}",
            *(f"{entry[key]:.2f} ms" if timed else "–" for key in ("p50", "p99", "p999")),
            str(entry["errors"]), f"{entry['other']:.0%}",
        ]))
    return "\n".join(rows)
