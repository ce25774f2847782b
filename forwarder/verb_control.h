/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The verbs that talk to a running netfwd over its control socket. Each is a
 * struct verb's run(), and has its help text here, too. */

int verb_status(int argc, char *argv[]);
int verb_expose(int argc, char *argv[]);
int verb_unexpose(int argc, char *argv[]);
int verb_events(int argc, char *argv[]);
int verb_reload(int argc, char *argv[]);
int verb_ip(int argc, char *argv[]);

extern const char verb_status_help[], verb_expose_help[], verb_unexpose_help[], verb_events_help[],
	verb_reload_help[], verb_ip_help[];
