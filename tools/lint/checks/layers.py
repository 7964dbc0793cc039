"""A folder of src/, and the public headers that belong to it, include only what stands to their left.

tools/lint/layers.txt has the order. The program, the examples and the benchmarks of the public interface include
<tandem/*.hpp> and nothing of detail/.
"""

import fnmatch
import re
from pathlib import Path

from source import Report, arguments, paths, sources

PUBLIC_ONLY = ("tools/cli", "examples")


def read_layers(file):
    """([(pattern, layer)], {layer: number})"""
    headers, numbers = [], {}
    for line in file.read_text().split("\n"):
        found = re.match(r"(\d+)\s+(\w+):(.*)", line)
        if found:
            numbers[found[2]] = int(found[1])
            headers += [(pattern, found[2]) for pattern in found[3].split()]
    return headers, numbers


def main():
    root, _ = arguments()
    report = Report("layers")
    own = Path(root) / "tools/lint/layers.txt"
    headers, numbers = read_layers(own if own.exists() else Path(__file__).parents[1] / "layers.txt")
    existing = set(paths(root))

    def layer_of_header(header):
        for pattern, layer in headers:
            if fnmatch.fnmatchcase(header, pattern):
                return layer
        found = re.match(r"detail/([a-z]+)(?:_\w+)?\.hpp$", header)
        return found[1] if found and found[1] in numbers else None

    def layer_of(path):
        if path.startswith("include/tandem/"):
            return layer_of_header(path[len("include/tandem/"):])
        found = re.match(r"src/([a-z_]+)/", path)
        return found[1] if found and found[1] in numbers else None

    for source in sources(root, ["src", "include", *PUBLIC_ONLY]):
        public_only = source.path.startswith(PUBLIC_ONLY)
        layer = layer_of(source.path)
        if layer is None and not public_only:
            report.add(source.path, 1, "belongs to no layer: see tools/lint/layers.txt")
            continue
        for line, quote, header in source.includes():
            if header.startswith("tandem/"):
                target, what = layer_of_header(header[len("tandem/"):]), header
                if target is None:
                    report.add(source.path, line, f"{header} belongs to no layer: see tools/lint/layers.txt")
                    continue
                if public_only:
                    if header.startswith("tandem/detail/"):
                        report.add(source.path, line, f"includes {header}: only <tandem/*.hpp> is public")
                    continue
            elif quote == '"':
                if source.path.startswith("include/"):
                    report.add(source.path, line, f'"{header}": a public header includes only <tandem/...> and <...>')
                    continue
                folder = source.path.rsplit("/", 1)[0]
                if public_only:
                    if f"{folder}/{header}" not in existing:
                        report.add(source.path, line, f'"{header}": only <tandem/*.hpp> and files of its own folder')
                    continue
                if "/" not in header and f"{folder}/{header}" in existing:
                    continue
                target, what = layer_of("src/" + header), header
                if target is None:
                    report.add(source.path, line, f'"{header}" is no file of src/<layer>/')
                    continue
            else:
                continue
            if target != layer and numbers[target] >= numbers[layer]:
                report.add(source.path, line, f"{layer} may not use {what} of {target}, which stands to its right")
    report.finish()


main()
