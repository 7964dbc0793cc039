"""Every public function carries a contract (CONTRIBUTING.md has the rules in prose)."""

import re

import cpp
from source import Report, arguments, sources

KEYS = ("Blocks", "Threads", "Fork", "Signals", "Stop", "Errors", "Cost", "Needs")
# Names whose functions wait for something, so that the reader must be told for what.
WAITING = re.compile(
    r"(join|wait|lock|send|receive|push|pop|accept|connect|acquire)(_\w+)?|arrive_and_wait|init|shutdown|submit|call_once")
# An accessor where it cannot throw: `int get() const noexcept`.
WAITING_UNLESS_NOEXCEPT = re.compile(r"get")


def keys_of(comment):
    """{key: what it says} of a comment's lines."""
    text = "\n".join(comment)
    mark = re.compile(r"(?:^|(?<=[.;] ))(" + "|".join(KEYS) + r"):", re.MULTILINE)
    found = list(mark.finditer(text))
    ends = [m.start() for m in found[1:]] + [len(text)]
    return {m[1]: text[m.end():end].strip(" .;\n") for m, end in zip(found, ends)}


def signature(function):
    parameters = []
    for parameter in cpp.split_top(function.parameters):
        parameter = re.sub(r"\s*=.*", "", parameter, flags=re.DOTALL)
        parameter = re.sub(r"(?<=[\s&*>])\w+$", "", parameter)
        parameters.append(re.sub(r"\s+", "", parameter))
    return function.name, tuple(parameters)


def required(function):
    return (function.public and not function.defaulted and not function.special and not function.qualified
            and not function.specialised and "detail" not in function.scope and "" not in function.scope)


def check(function, report, path):
    say = lambda message: report.add(path, function.start, f"{function.name}: {message}")
    keys = keys_of(function.comment)
    first = function.comment[0]
    if re.match("|".join(KEYS), first) and first.split(":")[0] in KEYS or len(first.split()) < 2:
        say("the first line of a contract says what the caller gets")
    for line in function.comment:
        unknown = re.match(r"([A-Z][a-z]+):(?!:)", line)
        if unknown and unknown[1] not in KEYS:
            say(f"{unknown[1]}: is no key of a contract; they are {', '.join(KEYS)}")
    for key, text in keys.items():
        if not text:
            say(f"{key}: says nothing")
    if not function.noexcept and "Errors" not in keys:
        say("may throw, so its contract needs Errors: (or it is noexcept)")
    waits = WAITING.fullmatch(function.name) or (
        not function.noexcept and WAITING_UNLESS_NOEXCEPT.fullmatch(function.name))
    if waits and "Blocks" not in keys:
        say("its name says that it waits, so its contract needs Blocks:")


def main():
    root, _ = arguments()
    report = Report("contracts")
    declared = []
    documented = set()
    for source in sources(root, ["include/tandem"]):
        if "/detail/" in source.path:
            continue
        for function in cpp.functions(source):
            if required(function):
                declared.append((source.path, function))
                if function.comment:
                    documented.add(signature(function))
    for path, function in declared:
        if function.comment:
            # A later definition with a remark of its own need not repeat what its declaration says.
            if not (function.has_body and len(declared_as(declared, function)) > 1 and not keys_of(function.comment)):
                check(function, report, path)
        elif not (function.has_body and signature(function) in documented):
            report.add(path, function.start, f"{function.name}: a public function without a contract")
    report.finish()


def declared_as(declared, function):
    return [f for _, f in declared if f.scope == function.scope and signature(f) == signature(function)]


main()
