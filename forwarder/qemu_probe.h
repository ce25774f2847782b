/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Asks an installed QEMU what it is. */
#include <stdbool.h>

#include "forwarder/qemu_args.h"

/* Runs `program --version`, looked up in PATH. Waits two seconds at most; for
 * the time before the loop runs. 0, or -errno: -ENOENT, -ETIMEDOUT, -EINVAL
 * when the answer names no version. */
int qemu_probe_version(const char *program, struct qemu_version *out);
/* Whether `program -netdev help` names that kind. In doubt not. */
bool qemu_probe_has_netdev(const char *program, const char *kind);
/* Whether `program -device MODEL,help` knows it. In doubt not. */
bool qemu_probe_has_device(const char *program, const char *model);
