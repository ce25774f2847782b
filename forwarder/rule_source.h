/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One entry of portForwards as it was written, and the rule that it makes: the
 * defaults in Lima's order, then Lima's checks. Pure. */
#include "forwarder/problems.h"
#include "forwarder/rule.h"

/* One entry of portForwards as it was written. 0 and NULL: not given, as in
 * Lima. The strings are the owner's. */
struct rule_source {
	enum rule_switch guest_ip_must_be_zero;
	char *guest_ip;
	int guest_port;
	int guest_port_range[2];
	char *guest_socket;
	char *host_ip;
	int host_port;
	int host_port_range[2];
	char *host_socket;
	enum rule_proto proto;
	enum rule_switch is_static;
	enum rule_switch reverse;
	enum rule_switch ignore;
	enum rule_via via;
};

struct rule_context {
	unsigned int index; /* in portForwards */
	/* What relative host sockets are below; NULL: they are refused. */
	const char *socket_dir;
};

/* 0, or -EINVAL after all that is wrong was added to problems, each named
 * portForwards[index].X, or -ENOMEM. *out borrows the strings of source, of
 * which a relative host_socket becomes absolute. */
int rule_from_source(struct rule_source *source, const struct rule_context *context,
		     struct rule *out, struct problems *problems);
