"""Words that must not occur: one machine's paths, and notes to oneself."""

import re

from source import Report, Source, arguments, paths

TEXT = (".hpp", ".cpp", ".md", ".txt", ".cmake", ".in", ".json", ".py", ".sh", ".allow", ".yml")
NAMES = ("run", "tidy", "install-packages", "Makefile", ".clang-format", ".clang-tidy", ".gitignore")
# Written in pieces, so that this file does not find itself.
BANNED = [
    (re.compile(r"(?<![\w.])/(wo" r"rk|ro" r"ot|ho" r"me/\w+)(/|\b)"), "a path of one machine"),
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b"), "finish it, or say in docs/ what is missing"),
]


def main():
    root, _ = arguments()
    report = Report("words")
    for path in paths(root, suffixes=TEXT, names=NAMES):
        for number, line in enumerate(Source(root, path).lines, 1):
            for pattern, why in BANNED:
                found = pattern.search(line)
                if found:
                    report.add(path, number, f"{found[0]}: {why}")
    report.finish()


main()
