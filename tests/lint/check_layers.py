#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who includes whom.

    check_layers.py [ROOT]

Fails on
  - a layer that includes one above it, or code that includes tests;
  - a cycle of modules (a module is foo.c and foo.h together);
  - a third-party header outside its one adapter, be it by way of our headers;
  - a quoted include that is not written from the root of the repository, and
    an angle-bracket include of anything but the system and the libraries below;
  - a source that does not include its own header first, a header without
    `#pragma once`, a source, script or build file without SPDX line.
"""
import os
import re
import sys

import tree

# Folder -> folders whose headers it may include.
LAYERS = {
    "netstack/base": ["netstack/base"],
    "netstack": ["netstack"],
    "forwarder": ["forwarder", "netstack"],
    "forwarder/rpc": ["forwarder/rpc", "netstack"],
    "forwarder/ssh": ["forwarder", "netstack"],
    "forwarder/agent": ["forwarder", "netstack"],
    "vendor": ["vendor"],
    "perf": ["perf", "netstack"],
    "tests": ["tests", "netstack", "forwarder"],
}

# Headers that only these files may include: they see everything below them.
CLOSED = {"forwarder/app.h": {"forwarder/app.c", "forwarder/main.c"}}

# Third-party header (pattern) -> the files of its adapter (pattern).
LIBRARIES = {
    r"uv\.h|uv/.*": r"netstack/base/loop\.c",
    r"(slirp/)?libslirp(-version)?\.h": r"netstack/slirp\.c",
    r"(lwip|netif)/.*|lwip_hooks\.h": r"(netstack|vendor)/lwip/.*",
    r"nghttp2/.*": r"forwarder/rpc/http2(_\w+)?\.[ch]",
    r"protobuf-c/.*|.*\.pb-c\.h": r"forwarder/rpc/messages(_\w+)?\.[ch]",
    r"microhttpd\.h": r"forwarder/http_server\.c",
    r"cyaml/.*|yaml\.h": r"forwarder/config_(parse|tree)\.[ch]",
    r"jansson\.h": r"forwarder/json\.c",
    r"libssh2\.h|ssh2_more\.h":
        r"forwarder/ssh/ssh_(alive|line|listen|login|worker)\.[ch]|vendor/libssh2/.*",
    r"cmocka\.h": r"tests/.*",
}

# The C library and the kernel. A header that is missing here is either one of
# theirs (add it) or of a library that has no adapter yet (name that above).
SYSTEM = re.compile(r"""(sys|linux|net|netinet|arpa|asm)/.+|(
    assert|ctype|dirent|dlfcn|endian|err|errno|fcntl|fnmatch|getopt|glob|grp|ifaddrs|
    inttypes|libgen|limits|locale|malloc|math|netdb|poll|pthread|pwd|resolv|sched|
    setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|
    stdlib|stdnoreturn|string|strings|sysexits|syslog|termios|threads|time|unistd|
    wait)\.h""", re.VERBOSE)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.MULTILINE)

HAS_NO_COMMENTS = re.compile(
    r"LICENSE|.*\.(md|json)|(.*/)?corpus/.*|.*\.(pcap|png|svg|txt|csv)")


def find_includes(root):
    """{file: [(bracket, header), ...]} in the order written."""
    return {path: INCLUDE.findall(tree.read(root, path)) for path in tree.c_files(root)}


def ours(includes, path):
    return [header for bracket, header in includes.get(path, []) if bracket == '"']


def module_of(path):
    return os.path.splitext(path)[0]


def layer_of(path):
    """The longest folder of LAYERS that holds the file; None outside."""
    inside = [layer for layer in LAYERS if path.startswith(layer + "/")]
    return max(inside, key=len, default=None)


def check_layers(includes):
    for path in includes:
        layer = layer_of(path)
        if layer is None:
            yield f"{path}: C code outside the layers {', '.join(LAYERS)}"
            continue
        for header in ours(includes, path):
            if "/" not in header:
                # Third-party code dictates the names of the port's headers.
                if layer != "vendor":
                    yield f'{path}: "{header}" is not written from the root'
            elif header not in includes:
                yield f'{path}: there is no "{header}"'
            elif not any(header.startswith(below + "/") for below in LAYERS[layer]):
                yield f'{path}: {layer}/ must not include "{header}"'
            elif path not in CLOSED.get(header, {path}):
                yield f'{path}: nobody includes "{header}" but {", ".join(CLOSED[header])}'


def reachable(includes, path):
    """The file and every header of ours that it includes, however far."""
    seen, todo = set(), [path]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += ours(includes, at)
    return seen


def check_libraries(includes):
    for path in includes:
        for via in sorted(reachable(includes, path)):
            for bracket, header in includes.get(via, []):
                if bracket != "<" or SYSTEM.fullmatch(header):
                    continue
                library = next((l for l in LIBRARIES if re.fullmatch(l, header)), None)
                how = "" if via == path else f' through "{via}"'
                if library is None:
                    if via == path:
                        yield f"{path}: <{header}> is neither system nor a known library"
                elif not re.fullmatch(LIBRARIES[library], path):
                    yield f"{path}: <{header}>{how} outside its adapter"


def check_cycles(includes):
    """Strongly connected components of the module graph (Tarjan)."""
    graph = {}
    for path in includes:
        edges = graph.setdefault(module_of(path), set())
        edges.update(module_of(h) for h in ours(includes, path) if h in includes)
    for module, edges in graph.items():
        edges.discard(module)
    index, low, stack, cycles = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            cycle = stack[stack.index(module):]
            del stack[stack.index(module):]
            if len(cycle) > 1:
                cycles.append(cycle)

    for module in sorted(graph):
        if module not in index:
            visit(module)
    for cycle in cycles:
        yield f"include cycle of modules: {' '.join(sorted(cycle))}"


def check_form(root, includes):
    for path in includes:
        own = module_of(path) + ".h"
        first = next((header for _, header in includes[path]), None)
        if path.endswith(".c") and own in includes and first != own:
            yield f'{path}: "{own}" is not included first'
        if path.endswith(".h") and "\n#pragma once\n" not in tree.read(root, path):
            yield f"{path}: no #pragma once"
    for path in tree.files(root):
        if not HAS_NO_COMMENTS.fullmatch(path):
            head = tree.read(root, path)[:200].split("\n")[:2]
            if not any("SPDX-License-Identifier: Apache-2.0" in line for line in head):
                yield f"{path}: no SPDX line"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    includes = find_includes(root)
    problems = [*check_layers(includes), *check_libraries(includes),
                *check_cycles(includes), *check_form(root, includes)]
    if not includes:
        problems.append("no C file found: wrong directory?")
    return tree.report(problems, f"check_layers: {len(includes)} files")


if __name__ == "__main__":
    sys.exit(main())
