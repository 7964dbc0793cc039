"""What every check needs: which files there are, what is in them, and how a finding is reported."""

import functools
import os
import re
import sys
from pathlib import Path

CPP = (".hpp", ".cpp")
# tests/lint/samples is wrong on purpose: each of its folders is a small checkout that a check must reject.
SKIPPED_FOLDERS = {".git", ".cache", "build", "__pycache__", "tests/lint/samples"}


class Source:
    """One file, with views of its text that keep every character's line and column."""

    def __init__(self, root, path):
        self.path = path  # relative to the root, with forward slashes
        self.text = (Path(root) / path).read_text(encoding="utf-8", errors="replace")

    @functools.cached_property
    def lines(self):
        return self.text.split("\n")

    @functools.cached_property
    def code(self):
        """The text with comments, strings and characters blanked."""
        return _blank(self.text, strings=True)

    @functools.cached_property
    def without_comments(self):
        return _blank(self.text, strings=False)

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def includes(self):
        """(line, '<' or '"', header) of each #include."""
        for number, line in enumerate(self.without_comments.split("\n"), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if found:
                yield number, found[1], found[2]


def _blank(text, strings):
    token = re.compile(
        r'(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)'
        r'|(?P<raw>R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)")'
        r'|(?P<string>"(?:\\.|[^"\\\n])*")'
        r"|(?P<char>(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+')",
        re.DOTALL)

    def spaces(found):
        if not found["comment"] and not strings:
            return found[0]
        blank = re.sub(r"[^\n]", " ", found[0])
        if found["comment"]:
            return blank
        # The quotes stay, so that an argument is still seen to be there.
        return '"' + blank[1:-1] + '"' if len(blank) >= 2 else blank

    return token.sub(spaces, text)


def paths(root, folders=None, suffixes=None, names=()):
    """Relative paths of the checkout's files, sorted; folders and suffixes narrow them."""
    found = []
    for folder, subfolders, files in os.walk(root):
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        subfolders[:] = sorted(
            f for f in subfolders if f not in SKIPPED_FOLDERS and prefix + f not in SKIPPED_FOLDERS)
        for name in files:
            path = prefix + name
            if folders is not None and not any(path.startswith(f + "/") for f in folders):
                continue
            if suffixes is None or name.endswith(tuple(suffixes)) or name in names:
                found.append(path)
    return sorted(found)


def sources(root, folders=None, suffixes=CPP):
    for path in paths(root, folders, suffixes):
        yield Source(root, path)


class Report:
    """Collects findings; finish() prints them and ends the check."""

    def __init__(self, check):
        self.check = check
        self.findings = []

    def add(self, path, line, message):
        self.findings.append((path, line, message))

    def finish(self):
        for path, line, message in sorted(set(self.findings)):
            print(f"{path}:{line}: {self.check}: {message}")
        sys.exit(1 if self.findings else 0)


def arguments():
    """(root, fix?) of a check's command line."""
    given = [a for a in sys.argv[1:] if a != "--fix"]
    return (given[0] if given else "."), "--fix" in sys.argv[1:]
