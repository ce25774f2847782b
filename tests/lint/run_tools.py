#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one off-the-shelf checker over the files it concerns.

    run_tools.py format                    clang-format, nothing is changed
    run_tools.py tidy BUILD_DIRECTORY      clang-tidy, over the compile database
    run_tools.py shell                     shellcheck
    run_tools.py man                       mandoc
"""
import concurrent.futures
import os
import subprocess
import sys

import tree

# How far clang's analyzer follows one function. At its own limit, 225000, it takes nearly
# all the time of clang-tidy; at a third of that, a third. ./dev lint leaves it alone.
SHALLOW = [f"--extra-arg={a}" for a in
           ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=75000")]
DEEP = os.environ.get("NETFWD_LINT_DEEP") == "1"


def check_all(command, paths):
    """One process per file, as many at a time as there are processors. Returns
    the output of those that failed or had anything to say."""
    def run(path):
        done = subprocess.run([*command, path], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return f"{path}:\n{done.stdout}" if done.returncode else None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [output for output in pool.map(run, paths) if output]


def main(what, *arguments):
    if what == "format":
        command, paths = ["clang-format-14", "--dry-run", "-Werror"], tree.c_files(".")
    elif what == "tidy":
        command = ["clang-tidy-14", "--quiet", "-p", arguments[0], *([] if DEEP else SHALLOW)]
        paths = tree.compiled_files(arguments[0])
    elif what == "shell":
        command, paths = ["shellcheck"], tree.shell_scripts(".")
    elif what == "man":
        command = ["mandoc", "-T", "lint", "-W", "warning"]
        paths = [p for p in tree.files(".") if p.endswith((".1", ".5", ".7", ".8"))]
    else:
        sys.exit(__doc__)
    problems = check_all(command, paths) if paths else ["no file to check"]
    return tree.report(problems, f"{command[0]}: {len(paths)} files")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 1 else __doc__)
