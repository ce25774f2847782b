/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One entry of portForwards as it was written, and the rule that it makes: the
 * defaults in Lima's order, then Lima's checks. Pure. */
#include "forwarder/problems.h"
#include "forwarder/rule.h"
#include "forwarder/rule_template.h"

/* One entry of portForwards as it was written. 0 and NULL: not given, as in
 * Lima. The strings are the owner's. */
struct rule_source {
	char *guest_ip, *guest_socket;
	char *host_ip, *host_socket;
	int guest_port, guest_port_range[2];
	int host_port, host_port_range[2];
	enum rule_proto proto;
	enum rule_via via;
	enum rule_switch guest_ip_must_be_zero;
	enum rule_switch is_static, reverse, ignore;
};

struct rule_context {
	unsigned int index; /* in portForwards */
	/* What relative host sockets are below; NULL or empty: they are refused. */
	const char *socket_dir;
	/* For guestSocket and hostSocket; NULL: none. */
	const struct rule_variable *guest_variables, *host_variables;
};

/* 0, or -EINVAL after all that is wrong was added to problems, each named
 * portForwards[index].X, or -ENOMEM. *out borrows the strings of source, in
 * which the variables of sockets are replaced (what cannot be is a warning) and
 * a relative host_socket becomes absolute. */
int rule_from_source(struct rule_source *source, const struct rule_context *context,
		     struct rule *out, struct problems *problems);
