/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A port of the host's loopback that leads to a port of the guest by its NIC, for a
 * while: a running netfwd opens it, and closes it again, asked over its control
 * socket as by `netfwd expose` and `unexpose`. */
#include <stdint.h>

#include "forwarder/control_client.h"

struct borrowed_port {
	const char *control; /* as in struct control_call */
	uint16_t guest;
	uint16_t host; /* on 127.0.0.1; 0: not open */
};

/* Sets host, from the other two; waits for the answer. 0, or -errno with a line of
 * control_client_call(). */
int borrowed_port_open(struct borrowed_port *port, char error[static CONTROL_CLIENT_ERROR_SIZE]);
/* Where it is open; a netfwd that has ended has closed it. Else -errno with a line,
 * and it is still open. */
int borrowed_port_close(struct borrowed_port *port, char error[static CONTROL_CLIENT_ERROR_SIZE]);
