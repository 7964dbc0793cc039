"""Every header starts with #pragma once, before anything but comments."""

import re

from source import Report, arguments, sources


def main():
    root, _ = arguments()
    report = Report("guards")
    for source in sources(root, suffixes=(".hpp", ".h")):
        if source.path.endswith(".h"):
            report.add(source.path, 1, "headers are named .hpp")
        first = next((line for line in source.without_comments.split("\n") if line.strip()), "")
        if not re.fullmatch(r"\s*#\s*pragma\s+once\s*", first):
            report.add(source.path, 1, "#pragma once comes first")
    report.finish()


main()
