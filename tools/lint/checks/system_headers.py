"""The kernel is reached from src/os alone; public headers stay clear of it.

The program `tandem` has tools/cli/kernel for what it asks the machine and the library never does.
"""

import re

from source import Report, arguments, sources

SYSTEM = re.compile(
    r"(sys|linux|asm|asm-generic|net|netinet|arpa)/.*"
    r"|(unistd|dlfcn|link|elf|signal|fcntl|poll|sched|netdb|dirent|spawn|execinfo|ucontext|pwd|grp|termios|mqueue"
    r"|semaphore|syscall|setjmp|err|alloca)\.h")
SPEAKERS = {"src/": "src/os/", "include/": "src/os/", "tools/cli/": "tools/cli/kernel/"}
# Types that the public interface needs: pid_t, pthread_t.
ALLOWED = {"sys/types.h", "pthread.h"}


def main():
    root, _ = arguments()
    report = Report("system_headers")
    for source in sources(root, ["src", "include", "tools/cli"]):
        speaker = next(folder for part, folder in SPEAKERS.items() if source.path.startswith(part))
        if source.path.startswith(speaker):
            continue
        for line, _, header in source.includes():
            if SYSTEM.fullmatch(header) and header not in ALLOWED:
                report.add(source.path, line, f"<{header}> belongs in {speaker[:-1]}")
        for number, line in enumerate(source.code.split("\n"), 1):
            if re.search(r"\bsyscall\s*\(", line):
                report.add(source.path, number, f"syscall() belongs in {speaker[:-1]}")
    report.finish()


main()
