/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tells the user how to connect QEMU to the socket that is served. */

struct options;

/* For options with link_path. To be pasted behind QEMU's command: on stdout
 * when netfwd chose the path, and as a log line when the user did. Asks the
 * installed QEMU for its version. */
void qemu_hint_print(const struct options *options);
