# SPDX-License-Identifier: Apache-2.0
"""The files of the project, for the checks beside this module."""
import json
import os

# .git is a file in a worktree.
NOT_OURS = {".git", "build", "__pycache__", ".cache"}


def files(root):
    """Paths below `root`, relative to it, in order; no build output."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [s for s in subfolders if s not in NOT_OURS]
        for name in set(names) - NOT_OURS:
            if not os.path.islink(os.path.join(folder, name)):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(found)


def c_files(root):
    return [f for f in files(root) if f.endswith((".c", ".h"))]


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def shell_scripts(root):
    """By their first line, as most have no suffix."""
    found = []
    for path in files(root):
        first = read(root, path)[:64].split("\n", 1)[0]
        if path.endswith(".sh") or (first.startswith("#!") and first.split("/")[-1]
                                    in ("sh", "env bash", "env sh", "bash")):
            found.append(path)
    return found


def compiled_files(build):
    """Our sources in the compile database; what was fetched or generated is
    below the build directory."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        paths = {os.path.relpath(entry["file"]) for entry in json.load(f)}
    return sorted(p for p in paths if not p.startswith(("build" + os.sep, os.pardir)))


def report(problems, what):
    """Prints the problems; the exit status of a check."""
    for problem in problems:
        print(problem)
    print(f"{what}: {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0
