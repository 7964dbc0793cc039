"""Nothing is longer than a reader can hold: public headers and source files, and functions.

What must be longer stands in tools/lint/sizes.allow: `path` or `path:function`, then the reason.
"""

import re
from pathlib import Path

import cpp
from source import Report, arguments, sources

HEADER_LINES, FILE_LINES, FUNCTION_LINES = 500, 600, 60


def read_allowed(root, report):
    allowed = {}
    file = Path(root) / "tools/lint/sizes.allow"
    if not file.exists():
        return allowed
    for number, line in enumerate(file.read_text().split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        what, _, reason = line.partition(" ")
        if len(reason.split()) < 3:
            report.add("tools/lint/sizes.allow", number, f"{what}: says no reason")
        allowed[what] = number
    return allowed


def main():
    root, _ = arguments()
    report = Report("sizes")
    allowed = read_allowed(root, report)
    used = set()

    def too_long(what, path, line, length, most):
        if length <= most:
            return
        if what in allowed:
            used.add(what)
        else:
            report.add(path, line, f"{what.split(':')[-1]} has {length} lines; at most {most}")

    for source in sources(root):
        public = source.path.startswith("include/tandem/") and "/detail/" not in source.path
        too_long(source.path, source.path, 1, len(source.lines) - 1, HEADER_LINES if public else FILE_LINES)
        for function in cpp.functions(source):
            if function.has_body:
                name = function.name
                if name.isupper():  # TEST(suite, name)
                    name = ".".join(p.strip() for p in function.parameters.split(","))
                too_long(f"{source.path}:{re.sub(r'[ ]', '', name)}", source.path, function.start,
                         function.end - function.start + 1, FUNCTION_LINES)
    for what in sorted(set(allowed) - used):
        report.add("tools/lint/sizes.allow", allowed[what], f"{what} is not too long, or is gone")
    report.finish()


main()
