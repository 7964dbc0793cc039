"""No test sleeps: it waits for what it needs. A program that a test will kill may, and says so:

    sleep_for(1h);  // lint: sleep until the test kills this process
"""

import re

from source import Report, arguments, sources


def main():
    root, _ = arguments()
    report = Report("sleeps")
    for source in sources(root, ["tests"]):
        for number, line in enumerate(source.code.split("\n"), 1):
            if not re.search(r"\b(sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|sleep)\s*\(", line):
                continue
            nearby = source.lines[max(0, number - 2):number]
            if not any(re.search(r"// lint: sleep \w+ \w+", text) for text in nearby):
                report.add(source.path, number, "a test waits for what it needs, and does not sleep")
    report.finish()


main()
