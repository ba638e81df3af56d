# SPDX-License-Identifier: Apache-2.0
"""The results as tables for people, in the terminal and in Markdown, and as JSON for programs."""
import json

from variant import VARIANTS

# Each variant beside the one that it is measured against.
AGAINST = {"event-ceiling": "event", "fastapi": "event", "fastify": "event", "event-128": None,
           "verify-ceiling": "verify", "copy": "batch"}


def number(value, digits=1):
    return "–" if value is None else f"{value:,.{digits}f}"


def figure_rows(results):
    for variant in VARIANTS:
        figures = results["medians"].get(variant.name)
        if not figures:
            continue
        ours = results["medians"].get(AGAINST.get(variant.name))
        yield [
            variant.title, number(figures["rate"], 0), number(figures.get("p50_ms")),
            number(figures.get("p99_ms")), number(figures["cpu_us"], 0 if figures["cpu_us"] >= 20 else 1),
            number(figures.get("pss_mib")), f"{ours['rate'] / figures['rate']:.2f} ×" if ours else "",
        ]


def reading_rows(results):
    for size, result in results["reading"].items():
        for name, figures in result["questions"].items():
            yield [name, f"{int(size):,}", *(
                [number(figures["p50_ms"]), number(figures["p95_ms"]), number(figures["max_ms"])]
                if figures else ["not there", "", ""])]


def target_rows(results):
    for row in results["targets"]:
        digits = 2 if row["unit"] == "×" else 1
        value = "–" if row["value"] is None else f"{number(row['value'], digits)} {row['unit']}"
        yield [row["work"], row["wanted"], value, row["reached"]]


TABLES = [
    (["work", "to reach", "figure", "reached"], target_rows),
    (["load", "per s", "p50 ms", "p99 ms", "CPU µs", "MiB", "Tallygate / this"], figure_rows),
    (["question", "events", "p50 ms", "p95 ms", "max ms"], reading_rows),
]


def aligned(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(header, rows):
    marks = [":--"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows])


def tables(results, form):
    filled = ((header, list(rows(results))) for header, rows in TABLES)
    return "\n\n".join(form(header, rows) for header, rows in filled if rows)


def conditions(results):
    machine = results["machine"]
    client = "everything on it, the client too"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    rounds = max((len(runs) for runs in results["rounds"].values()), default=0)
    return "\n".join(filter(None, [
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {client}."
        f" A durable write of 8 KiB takes {machine['fdatasync_us']} µs.",
        f"{versions}.",
        f"Commit {results['commit']}, {results['date']}." + (
            f" Medians of {rounds} rounds of {results['seconds']} s; CPU is of the whole machine, for each"
            " request (for each event in batches and `\\copy`)." if rounds else ""),
        doubts(results)]))


def doubts(results):
    """Runs during which others were at work, too: they are in latest.json, but in no median."""
    runs = [*(run for rounds in results["rounds"].values() for run in rounds), *results["reading"].values()]
    disturbed = sum(run["disturbed"] for run in runs)
    return disturbed and f"{disturbed} of {len(runs)} runs were disturbed by other work on the machine and do not count."


def failures(results):
    return "".join(f"\nFAILED  {text}" for text in results["failures"])


def to_terminal(results):
    return f"{tables(results, aligned)}\n\n{conditions(results)}{failures(results)}"


def write(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "latest.json").write_text(json.dumps(rounded(results), indent=2, ensure_ascii=False) + "\n")
    text = f"{tables(results, markdown)}\n\n{conditions(results)}\n{failures(results)}"
    (directory / "latest.md").write_text(text.rstrip() + "\n")


def rounded(value):
    """Four digits after the point are more than any of this is good for."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {str(key): rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return value
