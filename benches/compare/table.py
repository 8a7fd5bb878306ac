"""What was measured, as Markdown: good to read in a terminal, and as it stands in docs/performance.md."""

import statistics

from goals import spread

TITLES = {
    "cold": "Cold: everything fetched into an empty folder (F1, F2)",
    "capped": "Capped: 40 MB/s for each connection (F3)",
    "small": "Ten images of 100 layers, 4 to 64 KiB each (F4)",
    "large": "One layer of 1 GiB (F4)",
    "warm": "Warm: everything is there (F5)",
    "verify": "Every byte of the store hashed again (F5)",
    "delta": "One layer of 2 MB changed (F6)",
}


def lines(headings, rows):
    """A Markdown table."""
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def goals_table(goals):
    """Every goal and what became of it."""
    rows = [(goal.name, goal.what, goal.limit, goal.found, "met" if goal.met else "**missed**") for goal in goals]
    return "\n".join(lines(("goal", "what", "limit", "found", ""), rows))


def row_table(bench, row, names, durable):
    """All tools of one row."""
    rows = []
    for name in names:
        samples = bench.of(row, name)
        if not samples:
            continue

        def column(field, form="{:.2f}"):
            return spread([getattr(sample, field) for sample in samples], form)

        small = "{:.3f}" if row in ("warm", "delta") else "{:.2f}"
        received = f"{statistics.median(sample.received_mb for sample in samples):.1f}"
        requests = f"{statistics.median(sample.requests for sample in samples):.0f}"
        rows.append((
            name, column("wall", small), column("cpu", small), column("peak_mb", "{:.1f}"), received, requests,
            column("sync"), "yes" if name in durable else "no", str(len(samples)),
        ))
    if not rows:
        return ""
    headings = ("tool", "wall s", "CPU s", "peak MB", "MB received", "requests", "`sync` afterwards s", "durable", "runs")
    return f"### {TITLES[row]}\n\n" + "\n".join(lines(headings, rows)) + "\n"
