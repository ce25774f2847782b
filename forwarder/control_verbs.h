/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The verbs that talk to a running netfwd over its control socket. Each is a
 * struct verb's run(), and has its help text here, too. */

int status_run(int argc, char *argv[]);
int expose_run(int argc, char *argv[]);
int unexpose_run(int argc, char *argv[]);
int events_run(int argc, char *argv[]);
int reload_run(int argc, char *argv[]);

extern const char status_help[], expose_help[], unexpose_help[], events_help[], reload_help[];
