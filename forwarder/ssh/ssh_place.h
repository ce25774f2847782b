/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a channel is opened to, as SSH says it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tunnel_place;

#define SSH_PLACE_SIZE 512

struct ssh_place {
	const char *type; /* of the channel */
	uint8_t message[SSH_PLACE_SIZE];
	size_t len;
	bool is_command; /* message is what to run, once the channel is open */
};

/* direct-tcpip (RFC 4254, section 7.2), or for a path
 * direct-streamlocal@openssh.com (OpenSSH's PROTOCOL, section 2.4). 0, or
 * -ENAMETOOLONG. */
int ssh_place_make(const struct tunnel_place *guest, struct ssh_place *out);
/* A session in which a command runs (RFC 4254, section 6.1). 0, or -ENAMETOOLONG. */
int ssh_place_command(const char *command, struct ssh_place *out);
