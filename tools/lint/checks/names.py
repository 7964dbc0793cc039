"""Names in public headers say what a thing is."""

import re

from source import Report, arguments, sources

BANNED = {"manager", "helper", "helpers", "util", "utils", "misc", "data", "info"}
ALLOWED = {"worker_info"}


def parts(name):
    return [p.lower() for p in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


def main():
    root, _ = arguments()
    report = Report("names")
    for source in sources(root, ["include/tandem"]):
        stem = source.path.rsplit("/", 1)[1].split(".")[0]
        if BANNED & set(parts(stem)):
            report.add(source.path, 1, f"{stem}: says nothing as the name of a file")
        for number, line in enumerate(source.code.split("\n"), 1):
            if line.lstrip().startswith("#"):
                continue
            # What follows . -> or :: was named by somebody else: v.data(), std::type_info.
            for found in re.finditer(r"(?<![\w.:])(?<!->)[A-Za-z_]\w*", line):
                name = found[0]
                if name in ALLOWED:
                    continue
                for word in sorted(BANNED & set(parts(name))):
                    report.add(source.path, number, f"{name}: `{word}` says nothing; name what it is")
                if re.match(r"handle_\w", name):
                    report.add(source.path, number, f"{name}: `handle` is no verb; say what is done")
    report.finish()


main()
