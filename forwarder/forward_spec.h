/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the user asks for with --forward, as plain data:
 *
 *   PROTO:[HOSTADDR:]HOSTPORT[-LAST]:[GUESTADDR:]GUESTPORT[-LAST]
 *
 * PROTO is tcp or udp. Addresses are numbers: 127.0.0.1, [::1]. Without
 * HOSTADDR it is 127.0.0.1, without GUESTADDR the guest's. Ranges are of equal
 * length. Pure: nothing is opened or looked up. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"

enum forward_proto {
	FORWARD_TCP,
	FORWARD_UDP,
};

struct forward_spec {
	enum forward_proto proto;
	unsigned int n_ports;  /* 1 to 65535; the ports of both ends count up */
	struct endpoint host;  /* with the first port */
	struct endpoint guest; /* with the first port; address :: = the guest's */
};

#define FORWARD_SPEC_ERROR_SIZE 256

const char *forward_proto_name(enum forward_proto proto);

/* 0, or -EINVAL with a text that quotes the bad part and says where it starts
 * and what is allowed there. */
int forward_spec_parse(const char *text, struct forward_spec *out,
		       char error[static FORWARD_SPEC_ERROR_SIZE]);

/* Whether both want the same port of the host: one of the two would find it in
 * use. 0.0.0.0 includes every IPv4 address, :: every IPv6 address. The first
 * such port goes to *port. */
bool forward_spec_overlap(const struct forward_spec *a, const struct forward_spec *b,
			  uint16_t *port);
