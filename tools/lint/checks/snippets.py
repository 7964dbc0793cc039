"""Every C++ block of the documentation is cut from a file that is compiled.

    <!-- snippet: examples/first.cpp first -->      before the block, in a .md file
    // snippet: first   ...   // snippet end        around the lines, in the example

--fix writes the blocks anew.
"""

import re
import textwrap
from pathlib import Path

from source import Report, arguments, paths

MARK = re.compile(r"\s*<!-- snippet: (\S+) (\S+) -->\s*")


def region(root, file, name):
    """The lines of a region, without their common indent; None if there is no such region."""
    path = Path(root) / file
    if not path.is_file():
        return None
    taken, inside = [], False
    for line in path.read_text().split("\n"):
        if re.fullmatch(r"\s*// snippet: " + re.escape(name) + r"\s*", line):
            inside = True
        elif inside and re.fullmatch(r"\s*// snippet end\s*", line):
            return textwrap.dedent("\n".join(taken)).strip("\n").split("\n")
        elif inside and not re.match(r"\s*// snippet: ", line):
            taken.append(line)
    return None


def check(root, path, fix, report):
    lines = (Path(root) / path).read_text().split("\n")
    written = []
    at = 0
    while at < len(lines):
        fence = re.match(r"(\s*)(```+)\s*(\S*)\s*$", lines[at])
        if not fence:
            written.append(lines[at])
            at += 1
            continue
        end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == fence[2]), None)
        if end is None:
            report.add(path, at + 1, "this block has no end")
            written += lines[at:]
            break
        block = lines[at + 1:end]
        if fence[3].lower() in ("cpp", "c++", "cxx", "hpp"):
            before = [i for i in (at - 1, at - 2) if i >= 0 and lines[i].strip()][:1]
            mark = MARK.fullmatch(lines[before[0]]) if before else None
            if not mark:
                report.add(path, at + 1, "a C++ block is cut from examples/: <!-- snippet: file region --> before it")
            elif not mark[1].startswith("examples/"):
                report.add(path, at + 1, f"{mark[1]}: snippets are cut from examples/")
            elif (wanted := region(root, mark[1], mark[2])) is None:
                report.add(path, at + 1, f"{mark[1]} has no region {mark[2]}")
            elif block != wanted:
                if fix:
                    block = wanted
                else:
                    report.add(path, at + 1, f"differs from {mark[1]}, region {mark[2]}; make format repairs it")
        elif not fence[3]:
            report.add(path, at + 1, "say the block's language after its fence: cpp, sh, cmake, text")
        written += [lines[at], *block, lines[end]]
        at = end + 1
    if fix and written != lines:
        (Path(root) / path).write_text("\n".join(written))


def main():
    root, fix = arguments()
    report = Report("snippets")
    for path in paths(root, suffixes=(".md",)):
        check(root, path, fix, report)
    report.finish()


main()
