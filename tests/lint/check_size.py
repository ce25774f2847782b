#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing is too long to be read in one go.

    check_size.py [ROOT]

Fails on a C function of more than 80 lines, signature and braces included, and
on a source, header or script of more than 600. (Nesting, parameters and
complexity are clang-tidy's.) It relies on the house style: a function's braces
stand alone in the first column.
"""
import re
import sys

import tree

FUNCTION_MAX = 80
FILE_MAX = 600
NAME = re.compile(r"(\w+)\(")


def functions(text):
    """(name, first line, number of lines) of each function."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
            while start > 0 and re.match(r"[A-Za-z_\t ]", lines[start - 1]) and \
                    not lines[start - 1].rstrip().endswith((";", "*/")):
                start -= 1
        elif line == "}" and start is not None:
            names = NAME.findall(re.sub(r"__attribute__\(\(.*?\)\)", "",
                                        " ".join(lines[start:start + 3])))
            yield names[0] if names else "?", start + 1, number + 1 - start
            start = None


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    problems, longest, count = [], (0, "none"), 0
    scripts = [f for f in tree.files(root) if f.endswith(".py")] + tree.shell_scripts(root)
    for path in tree.c_files(root) + scripts:
        text = tree.read(root, path)
        length = text.count("\n")
        if length > FILE_MAX:
            problems.append(f"{path}: {length} lines, {FILE_MAX} at most")
        if not path.endswith((".c", ".h")):
            continue
        for name, line, length in functions(text):
            count += 1
            longest = max(longest, (length, f"{name} in {path}"))
            if length > FUNCTION_MAX:
                problems.append(f"{path}:{line}: {name} has {length} lines, {FUNCTION_MAX} at most")
    print(f"{count} functions, the longest: {longest[1]}, {longest[0]} lines")
    return tree.report(problems, "check_size")


if __name__ == "__main__":
    sys.exit(main())
