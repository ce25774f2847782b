#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every C source is compiled: a test that no CMakeLists.txt names never fails.

    check_built.py BUILD_DIRECTORY

Fuzz targets are apart: they are built by a preset of their own.
"""
import sys

import tree


def main(build):
    built = tree.compiled_files(build)
    sources = [path for path in tree.c_files(".")
               if path.endswith(".c") and not path.startswith("tests/fuzz/")]
    problems = [f"{path}: named by no CMakeLists.txt" for path in sources if path not in built]
    if not sources:
        problems.append("no C source found: wrong directory?")
    return tree.report(problems, f"check_built: {len(sources)} files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
