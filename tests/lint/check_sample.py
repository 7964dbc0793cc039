"""check_sample.py TOOLS_LINT SAMPLE: runs a check over a small checkout and compares what it found with expected.txt.

A sample is named <check>.<what is wrong>. Each line of its expected.txt is path:line: and a part of the message; a sample
whose expected.txt is empty must pass.
"""

import re
import subprocess
import sys
from pathlib import Path

run, sample = Path(sys.argv[1]) / "run", Path(sys.argv[2])
check = sample.name.split(".")[0]
done = subprocess.run([run, "--root", sample, check], capture_output=True, text=True)
found = [line for line in done.stdout.split("\n") if re.match(r"\S+?:\d+: ", line)]
expected = [line for line in (sample / "expected.txt").read_text().split("\n") if line]
wrong = []
if done.returncode != (1 if expected else 0):
    wrong.append(f"exit code {done.returncode}")
if done.stderr:
    wrong.append(done.stderr)
for line in expected:
    where, _, message = line.partition(": ")
    hits = [f for f in found if f.startswith(where + ": ") and message in f]
    if not hits:
        wrong.append(f"not found: {line}")
    found = [f for f in found if f not in hits[:1]]
wrong += [f"not expected: {line}" for line in found]
print("\n".join(wrong) if wrong else f"{len(expected)} findings, as expected")
sys.exit(1 if wrong else 0)
