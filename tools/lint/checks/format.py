"""The layout is clang-format's, of version 14: another version would lay out differently."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from source import CPP, Report, arguments, paths


def main():
    root, fix = arguments()
    report = Report("format")
    program = shutil.which("clang-format-14")
    if not program:
        print("tools/lint/checks/format.py:1: format: there is no clang-format-14 (make install-deps)")
        sys.exit(1)
    files = paths(root, suffixes=CPP)
    batches = [files[i::8] for i in range(8) if files[i::8]]

    def one(batch):
        mode = ["-i"] if fix else ["--dry-run"]
        return subprocess.run([program, "--style=file", *mode, *batch], cwd=root, capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done in pool.map(one, batches):
            found = re.findall(r"^(\S+?):(\d+):\d+: (?:warning|error): (.*)$", done.stderr, re.MULTILINE)
            for path, line, _ in found:
                report.add(path, int(line), "not laid out as clang-format does (make format)")
            if done.returncode != 0 and not found:
                report.add(".clang-format", 1, done.stderr.strip() or "clang-format failed")
    report.finish()


main()
