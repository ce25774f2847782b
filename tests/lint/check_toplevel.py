#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The top level of the repository holds what was agreed, and nothing else.

    check_toplevel.py [ROOT]
"""
import re
import subprocess
import sys

import tree

ALLOWED = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "dev",
           "netstack", "forwarder", "vendor", "configs", "tests", "perf"}
DOT_ENTRY = re.compile(r"\.ci|\.git[a-z]+|\.clang-(format|tidy)|\.editorconfig|\.reuse|"
                       r"\.pre-commit-config\.yaml")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    entries = {path.split("/")[0] for path in listing.split("\0") if path}
    problems = [f"{entry}: not one of the agreed top-level entries" for entry in sorted(entries)
                if entry not in ALLOWED and not DOT_ENTRY.fullmatch(entry)]
    if not entries:
        problems.append("git lists no file: wrong directory?")
    return tree.report(problems, "check_toplevel")


if __name__ == "__main__":
    sys.exit(main())
