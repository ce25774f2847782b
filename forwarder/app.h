/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The running program: loop, stack, guest link, forwards, QEMU; set up in this
 * order and taken down in reverse. Either all of it runs or none. */

struct options;

/* Runs until a signal, or until QEMU ends. The exit status: QEMU's where netfwd
 * started it, else 0; 1 if it could not start, after a line per reason. */
int app_run(const struct options *options);
