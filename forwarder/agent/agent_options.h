/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netfwd-agent's command line as plain data: netfwd-agent(8). Pure. Strings point
 * into argv. */
#include <stdbool.h>

#include "netstack/addr.h"

#define AGENT_PORT 2222 /* of AF_VSOCK, if none is given */

enum agent_action {
	AGENT_RUN,
	AGENT_HELP,
	AGENT_VERSION,
};

struct agent_options {
	enum agent_action action;
	unsigned int vsock_port; /* 0: not asked for */
	const char *unix_path;	 /* NULL: not asked for, as those below */
	const char *serial_path; /* or the name of a virtio port, without a slash */
	const char *token_path;
	struct endpoint tcp; /* port 0: not asked for */
	struct ipaddr from;  /* where the host dials from; any: the default gateway */
	bool with_stdio;
	bool offers_ssh; /* at port 22 of AF_VSOCK */
	unsigned int verbosity;
	int ready_fd; /* -1: nobody waits */
};

#define AGENT_OPTIONS_ERROR_SIZE 256

/* 0, or -EINVAL with one line that says what is wrong and what to do. argv may be
 * reordered, as by getopt(3). */
int agent_options_parse(int argc, char *const argv[], struct agent_options *out,
			char error[static AGENT_OPTIONS_ERROR_SIZE]);
const char *agent_options_help(void);
