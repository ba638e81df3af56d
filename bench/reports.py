# SPDX-License-Identifier: Apache-2.0
"""python3 bench/reports.py [EVENTS]: how long a monthly report takes, from the request until its file is there, in each form.

A stack of its own, with a tallygate-jobd, gets so many events of 30 days (fill.sql; ten million when nothing is said) of 10,000 users. The
run's own times are told as well: from the moment that the job began to that at which it was done.
"""
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))
from env.stack import Stack  # noqa: E402

FORMATS, ROUNDS, SECTIONS = ("json", "csv", "html", "pdf"), 3, ["summary", "by_type", "costs", "top_users", "daily"]
FILL = {"users": 10000, "days": 30, "first": 1}


def psql(stack, variables):
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", f"{stack.dir}/run/pg", "-U", "tallygate", "-d", "tallygate"]
    for name, value in variables.items():
        command += ["-v", f"{name}={value}"]
    subprocess.run(command, input=(TOP / "bench" / "fill.sql").read_text(), text=True, check=True, stdout=subprocess.DEVNULL)


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def once(user, report):
    """Seconds as the client sees them, those of the job, and the file's size."""
    began = time.monotonic()
    path = f"/reports/{report}/runs/{user.post(f'/reports/{report}/run').json()['run_id']}"
    while (run := user.get(path).json())["status"] in ("queued", "running"):
        time.sleep(0.02)
    if run["status"] != "done" or len(user.get(f"{path}/download").body) != run["size_bytes"]:
        raise SystemExit(f"the report failed: {run}")
    return time.monotonic() - began, seconds(run["finished_at"]) - seconds(run["started_at"]), run["size_bytes"]


def main():
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    stack = Stack(jobs=True)
    stack.dir.rmdir()
    stack.dir = Path(tempfile.mkdtemp(prefix="tg-", dir="/var/tmp"))
    stack.dir.chmod(0o755)
    try:
        stack.up()
        user = stack.new_user()
        psql(stack, {**FILL, "workspace": user.workspace, "last": events})
        reports = {form: user.post("/reports", {"name": "Monthly", "sections": SECTIONS, "range": "30d", "format": form}).json()["id"] for form in FORMATS}
        found = {form: [] for form in FORMATS}
        for _ in range(ROUNDS):
            for form in FORMATS:
                found[form].append(once(user, reports[form]))
        for form, rows in found.items():
            whole, job, size = zip(*rows)
            print(f"{events} events, {form}: {statistics.median(whole):.2f} s (job {statistics.median(job):.2f} s, worst {max(whole):.2f} s), {size[0]} bytes")
    finally:
        stack.remove()


if __name__ == "__main__":
    main()
