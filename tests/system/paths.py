# SPDX-License-Identifier: Apache-2.0
"""Imported first by each test program: lets it import what is in tests/support."""
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
