"""The goals, judged by what was measured."""

import dataclasses
import statistics

import rows

# Goals as the project set them; a ratio is the median of the rounds' ratios, because a shared machine is never twice
# as fast, but the tools of one round share its luck.
COLD_CRANE, COLD_FLOOR = 0.55, 1.15
CPU_CRANE, CPU_FLOOR = 0.6, 1.2
CAPPED_CRANE = 0.35
PEAK_MB = 20.0
WARM_SECONDS, WARM_CRANE = 0.050, 0.35
VERIFY_OPENSSL = 1.15


@dataclasses.dataclass
class Goal:
    """One judged number."""

    name: str
    what: str
    limit: str
    found: str
    met: bool


def spread(values, form="{:.2f}"):
    """Median, and in brackets the smallest and the largest."""
    median, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return median if len(values) == 1 else f"{median} ({low}–{high})"


def ratios(bench, row, field, other, mine="ztlab"):
    """Round by round."""
    return [
        getattr(sample, field) / max(getattr(against, field), 1e-9)
        for sample, against in zip(bench.of(row, mine), bench.of(row, other))
    ]


def ratio_goal(goals, bench, name, row, field, other, limit, what):
    values = ratios(bench, row, field, other)
    if values:
        goals.append(Goal(name, what, f"≤ {limit}", spread(values, "{:.3f}"), statistics.median(values) <= limit))


def judge(bench, shapes):
    """All goals that were measured."""
    goals = []
    ratio_goal(goals, bench, "F1", "cold", "wall", "crane", COLD_CRANE, "cold fetch, durable: wall ÷ crane (which syncs nothing)")
    ratio_goal(goals, bench, "F1", "cold", "wall", "floor", COLD_FLOOR, "cold fetch, durable: wall ÷ floor")
    ratio_goal(goals, bench, "F2", "cold", "cpu", "crane", CPU_CRANE, "cold fetch: CPU ÷ crane")
    ratio_goal(goals, bench, "F2", "cold", "cpu", "floor", CPU_FLOOR, "cold fetch: CPU ÷ floor")
    ratio_goal(goals, bench, "F3", "capped", "wall", "crane", CAPPED_CRANE, "40 MB/s for each connection: wall ÷ crane")
    for row, what in (("cold", "the lab's set"), ("small", "1000 small layers"), ("large", "one layer of 1 GiB")):
        peaks = [sample.peak_mb for sample in bench.of(row, "ztlab")]
        if peaks:
            goals.append(Goal("F4", f"peak memory, {what}", f"≤ {PEAK_MB:.0f} MB", f"{max(peaks):.1f} MB", max(peaks) <= PEAK_MB))
    warm = bench.of("warm", "ztlab")
    if warm:
        requests, walls = max(sample.requests for sample in warm), [sample.wall for sample in warm]
        goals.append(Goal("F5", "warm: requests", "0", str(requests), requests == 0))
        shown = spread([1000 * wall for wall in walls], "{:.0f}") + " ms"
        goals.append(Goal("F5", "warm: wall", "≤ 50 ms", shown, statistics.median(walls) <= WARM_SECONDS))
    ratio_goal(goals, bench, "F5", "warm", "wall", "crane", WARM_CRANE, "warm: wall ÷ crane")
    ratio_goal(goals, bench, "F5", "verify", "wall", "openssl", VERIFY_OPENSSL, "`store verify`: wall ÷ `openssl dgst -sha256` on all cores")
    delta = bench.of("delta", "ztlab")
    if delta:
        limit, found = rows.delta_limit(shapes) / 1e6, max(sample.received_mb for sample in delta)
        goals.append(Goal("F6", "one layer of 2 MB changed: bytes", f"≤ {limit:.3f} MB", f"{found:.3f} MB", found <= limit))
    return goals
