#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each check passes a clean tree and fails on the one thing it is there for."""
import json
import os
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
C_SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"

CLEAN = {
    "netstack/base/loop.h": C_SPDX + "#pragma once\n#include <stdint.h>\n",
    "netstack/base/loop.c": C_SPDX + '#include "netstack/base/loop.h"\n\n#include <uv.h>\n',
    "netstack/nic.h": C_SPDX + '#pragma once\n#include "netstack/base/loop.h"\n',
    "netstack/nic.c": C_SPDX + '#include "netstack/nic.h"\n',
    "forwarder/app.h": C_SPDX + '#pragma once\n#include "netstack/nic.h"\n',
    "forwarder/main.c": C_SPDX + '#include "forwarder/app.h"\n',
    "tests/unit/test_nic.c": C_SPDX + '#include "netstack/nic.h"\n\n#include <cmocka.h>\n',
    "README.md": "A tree to check.\n",
}


class Lint(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def database(self, *names):
        entries = [{"directory": self.root, "file": os.path.join(self.root, name),
                    "command": f"cc -std=gnu17 -c {os.path.join(self.root, name)}"}
                   for name in names]
        self.write("build/dev/compile_commands.json", json.dumps(entries))

    def run_check(self, script, *arguments):
        done = subprocess.run([os.path.join(HERE, script), *arguments], cwd=self.root, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    def passes(self, *command):
        status, output = self.run_check(*command)
        self.assertEqual(status, 0, output)

    def fails(self, expected, *command):
        status, output = self.run_check(*command)
        self.assertEqual(status, 1, output)
        self.assertIn(expected, output)
        self.assertIn(" 1 problem", output)


class Layers(Lint):
    def test_a_clean_tree_passes(self):
        self.passes("check_layers.py")

    def test_a_cycle_of_headers(self):
        self.write("netstack/a.h", C_SPDX + '#pragma once\n#include "netstack/b.h"\n')
        self.write("netstack/b.h", C_SPDX + '#pragma once\n#include "netstack/a.h"\n')
        self.fails("cycle of modules: netstack/a netstack/b", "check_layers.py")

    def test_a_cycle_closed_by_a_source(self):
        self.write("netstack/a.h", C_SPDX + "#pragma once\n")
        self.write("netstack/a.c", C_SPDX + '#include "netstack/a.h"\n#include "netstack/c.h"\n')
        self.write("netstack/b.h", C_SPDX + '#pragma once\n#include "netstack/a.h"\n')
        self.write("netstack/c.h", C_SPDX + '#pragma once\n#include "netstack/b.h"\n')
        self.fails("netstack/a netstack/b netstack/c", "check_layers.py")

    def test_the_library_includes_the_program(self):
        self.write("forwarder/rule.h", C_SPDX + "#pragma once\n")
        self.write("netstack/up.c", C_SPDX + '#include "forwarder/rule.h"\n')
        self.fails('netstack/ must not include "forwarder/rule.h"', "check_layers.py")

    def test_the_foundation_includes_the_library(self):
        self.write("netstack/base/up.c", C_SPDX + '#include "netstack/nic.h"\n')
        self.fails('netstack/base/ must not include "netstack/nic.h"', "check_layers.py")

    def test_code_includes_tests(self):
        self.write("tests/support/fake.h", C_SPDX + "#pragma once\n")
        self.write("netstack/bad.c", C_SPDX + '#include "tests/support/fake.h"\n')
        self.fails('must not include "tests/support/fake.h"', "check_layers.py")

    def test_the_object_graph_is_for_main_only(self):
        self.write("forwarder/rule.c", C_SPDX + '#include "forwarder/app.h"\n')
        self.fails('nobody includes "forwarder/app.h"', "check_layers.py")

    def test_a_library_outside_its_adapter(self):
        self.write("netstack/bad.c", C_SPDX + "#include <uv.h>\n")
        self.fails("netstack/bad.c: <uv.h> outside its adapter", "check_layers.py")

    def test_a_library_outside_its_adapter_through_a_header(self):
        self.write("netstack/lwip/pcb.h", C_SPDX + "#pragma once\n#include <lwip/tcp.h>\n")
        self.write("netstack/bad.c", C_SPDX + '#include "netstack/lwip/pcb.h"\n')
        self.fails('<lwip/tcp.h> through "netstack/lwip/pcb.h" outside', "check_layers.py")

    def test_a_library_that_has_no_adapter(self):
        self.write("netstack/bad.c", C_SPDX + "#include <glib.h>\n")
        self.fails("<glib.h> is neither system nor a known library", "check_layers.py")

    def test_an_include_without_folder(self):
        self.write("netstack/bad.c", C_SPDX + '#include "nic.h"\n')
        self.fails('"nic.h" is not written from the root', "check_layers.py")

    def test_an_include_of_nothing(self):
        self.write("netstack/bad.c", C_SPDX + '#include "netstack/gone.h"\n')
        self.fails('there is no "netstack/gone.h"', "check_layers.py")

    def test_the_own_header_is_not_first(self):
        self.write("netstack/nic.c", C_SPDX + '#include <stdint.h>\n#include "netstack/nic.h"\n')
        self.fails("is not included first", "check_layers.py")

    def test_a_header_without_guard(self):
        self.write("netstack/bad.h", C_SPDX)
        self.fails("netstack/bad.h: no #pragma once", "check_layers.py")

    def test_a_missing_licence_line(self):
        self.write("configs/user.conf", "mtu = 1500\n")
        self.fails("configs/user.conf: no SPDX line", "check_layers.py")

    def test_code_outside_the_layers(self):
        self.write("src/new.c", C_SPDX)
        self.fails("src/new.c: C code outside the layers", "check_layers.py")


class Size(Lint):
    @staticmethod
    def function(lines):
        return "int f(int a,\n      int b)\n{\n" + "\ta++;\n" * (lines - 4) + "}\n"

    def test_a_function_of_eighty_lines_passes(self):
        self.write("netstack/long.c", C_SPDX + "\n" + self.function(80))
        self.passes("check_size.py")

    def test_a_longer_function(self):
        self.write("netstack/long.c", C_SPDX + "\n" + self.function(81))
        self.fails("netstack/long.c:3: f has 81 lines", "check_size.py")

    def test_a_file_of_six_hundred_lines_passes(self):
        self.write("netstack/long.c", C_SPDX + "\n" * 599)
        self.passes("check_size.py")

    def test_a_longer_file(self):
        self.write("tests/system/long", "#!/usr/bin/env bash\n" + "\n" * 600)
        self.fails("tests/system/long: 601 lines", "check_size.py")


class TopLevel(Lint):
    def setUp(self):
        super().setUp()
        subprocess.run(["git", "init", "--quiet", self.root], check=True)

    def test_the_agreed_entries_pass(self):
        self.write("dev", "#!/usr/bin/env bash\n")
        self.write(".ci/run", "#!/usr/bin/env bash\n")
        self.passes("check_toplevel.py")

    def test_another_entry(self):
        self.write("src/new.c", C_SPDX)
        self.fails("src: not one of the agreed", "check_toplevel.py")


class Built(Lint):
    def test_every_source_is_compiled(self):
        self.database(*(path for path in CLEAN if path.endswith(".c")))
        self.passes("check_built.py", "build/dev")

    def test_a_source_that_is_not(self):
        self.database(*(path for path in CLEAN if path.endswith(".c")))
        self.write("tests/unit/test_forgotten.c", C_SPDX)
        self.fails("tests/unit/test_forgotten.c: named by no", "check_built.py", "build/dev")

    def test_a_fuzz_target_is_not_for_this_preset(self):
        self.database(*(path for path in CLEAN if path.endswith(".c")))
        self.write("tests/fuzz/fuzz_frame.c", C_SPDX)
        self.passes("check_built.py", "build/dev")


class Tools(Lint):
    def test_format(self):
        self.passes("run_tools.py", "format")
        self.write("netstack/bad.c", "int  x ;\n")
        self.fails("netstack/bad.c", "run_tools.py", "format")

    def test_shell(self):
        self.write("good", "#!/usr/bin/env bash\necho good\n")
        self.passes("run_tools.py", "shell")
        self.write("bad", "#!/usr/bin/env bash\nrm $1\n")
        self.fails("SC2086", "run_tools.py", "shell")

    def test_man(self):
        self.write("forwarder/bad.1", ".Dd today\n.Sh NAME\n.Nosuchmacro\n")
        self.fails("skipping unknown macro", "run_tools.py", "man")

    def test_tidy(self):
        self.write("good.c", "int good(void);\n\nint good(void)\n{\n\treturn 0;\n}\n")
        self.write("bad.c", "int bad(int *p);\n\nint bad(int *p)\n{\n"
                            "\tif (!p)\n\t\treturn *p;\n\treturn 0;\n}\n")
        with open(os.path.join(HERE, "../../.clang-tidy"), encoding="utf-8") as f:
            self.write(".clang-tidy", f.read())
        self.database("good.c")
        self.passes("run_tools.py", "tidy", "build/dev")
        self.database("good.c", "bad.c")
        self.fails("clang-analyzer-core.NullDereference", "run_tools.py", "tidy", "build/dev")

    def test_no_file_to_check(self):
        self.fails("no file to check", "run_tools.py", "man")


if __name__ == "__main__":
    unittest.main()
