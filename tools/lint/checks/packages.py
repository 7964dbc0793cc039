"""cmake/apt-packages.txt and the table of docs/dependencies.md name the same packages, each with a reason."""

import re
from pathlib import Path

from source import Report, arguments

LIST, TABLE = "cmake/apt-packages.txt", "docs/dependencies.md"


def main():
    root, _ = arguments()
    report = Report("packages")
    listed, shown = {}, {}
    if not (Path(root) / LIST).exists():
        report.finish()
    for number, line in enumerate((Path(root) / LIST).read_text().split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [c.strip() for c in line.split("|")]
        if len(columns) != 3 or not all(columns):
            report.add(LIST, number, "expected: package | make targets | why")
            continue
        if columns[0] in listed:
            report.add(LIST, number, f"{columns[0]} is listed twice")
        listed[columns[0]] = number
    table = Path(root) / TABLE
    for number, line in enumerate(table.read_text().split("\n") if table.exists() else [], 1):
        row = re.match(r"\|\s*`([^`]+)`\s*\|(.*)\|", line)
        if row:
            shown[row[1]] = number
    for package in listed.keys() - shown.keys():
        report.add(LIST, listed[package], f"{package} is missing in the table of {TABLE}")
    for package in shown.keys() - listed.keys():
        report.add(TABLE, shown[package], f"{package} is not in {LIST}")
    report.finish()


main()
