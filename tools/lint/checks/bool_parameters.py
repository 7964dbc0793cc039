"""No bool parameters in the public interface: at the call, nobody can read what `true` means."""

import re

import cpp
from source import Report, arguments, sources


def main():
    root, _ = arguments()
    report = Report("bool_parameters")
    for source in sources(root, ["include/tandem"]):
        if "/detail/" in source.path:
            continue
        for function in cpp.functions(source):
            if not function.public or "detail" in function.scope or function.name.startswith("operator"):
                continue
            for parameter in cpp.split_top(function.parameters):
                parameter = re.sub(r"\s*=.*", "", parameter, flags=re.DOTALL)
                if re.fullmatch(r"(const\s+)?bool(\s*&|\s)?\s*\w*", parameter):
                    report.add(source.path, function.start,
                               f"{function.name}: `{parameter}`: an enum, or two functions, can be read at the call")
    report.finish()


main()
