/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which port of the host a listener of the guest gets, if any: Lima's
 * portForwards, with its defaults, order and matching. Pure: the same function
 * answers `netfwd explain` and decides at run time.
 *
 * What a reverse rule listens on in the guest is not forwarded. For all else
 * the order is: port 22 and the port of SSH on the host are never forwarded, on
 * whatever address the guest listens; then the rules, the first that matches;
 * last, what listens on the guest's loopback or on all its addresses goes to
 * the same port of the host's loopback. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

enum rule_proto {
	RULE_PROTO_DEFAULT, /* not given */
	RULE_PROTO_TCP,
	RULE_PROTO_UDP,
	RULE_PROTO_ANY,
};

/* The way to the guest. */
enum rule_via {
	RULE_VIA_DEFAULT, /* not given */
	RULE_VIA_SSH,
	RULE_VIA_GRPC,
	RULE_VIA_DIRECT, /* through the virtual NIC */
	RULE_VIA_NETNS,	 /* sockets made in the guest, which is a namespace */
	RULE_VIA_VSOCK,	 /* the agent, by a connection of the guest's vsock for each */
	RULE_VIA_AUTO,	 /* the fastest that reaches the listener */
	RULE_VIA_NONE,	 /* not forwarded */
};

enum rule_switch {
	RULE_SWITCH_DEFAULT, /* not given */
	RULE_SWITCH_OFF,
	RULE_SWITCH_ON,
};

enum rule_origin {
	RULE_ORIGIN_NONE,    /* no rule */
	RULE_ORIGIN_USER,    /* portForwards[index] */
	RULE_ORIGIN_BUILTIN, /* see above */
	RULE_ORIGIN_OPTION,  /* the index'th --forward */
};

/* A rule with its defaults filled in. Without guest_socket and host_socket both
 * ranges have the same length. */
struct rule {
	const char *guest_socket; /* NULL, or absolute */
	const char *host_socket;  /* NULL, or absolute */
	enum rule_origin origin;
	unsigned int index; /* among those of its origin, from 0 */
	enum rule_proto proto;
	enum rule_via via; /* RULE_VIA_DEFAULT: as struct rule_types says */
	struct ipaddr guest_ip, host_ip;
	uint16_t guest_first, guest_last;
	uint16_t host_first, host_last; /* 0 with host_socket */
	bool guest_ip_must_be_zero;
	bool is_host_ip_given; /* if not, ::1 is served as well as 127.0.0.1 */
	bool is_static;	       /* set up at once, whatever the guest listens on */
	bool is_reverse;       /* listens in the guest, dials on the host */
	bool is_ignore;
};

/* The way that rules take that name none: what portForwardTypes resolves to. */
struct rule_types {
	enum rule_via tcp, udp; /* RULE_VIA_NONE: not forwarded at all */
};

/* Lima's "dual". */
#define RULE_TYPES_DEFAULT ((struct rule_types){ RULE_VIA_SSH, RULE_VIA_GRPC })
/* Of a guest that is a namespace, where neither ssh nor an agent is set up. */
#define RULE_TYPES_NAMESPACE ((struct rule_types){ RULE_VIA_AUTO, RULE_VIA_AUTO })

struct rule_set {
	const struct rule *rules; /* n_rules, in the order of matching */
	unsigned int n_rules;
	struct rule_types types;
	uint16_t ssh_port; /* SSH to the guest, on the host; 0: none */
	bool is_plain;	   /* static rules only */
};

/* A socket that the guest listens on. */
struct rule_listener {
	enum forward_proto proto;
	struct endpoint guest;
};

struct rule_decision {
	bool is_forward;
	enum rule_origin origin; /* of the rule that decided */
	unsigned int index;
	enum rule_via via;	 /* when forwarded */
	const char *host_socket; /* when forwarded, or NULL: */
	struct endpoint host;
	bool has_also;
	struct endpoint also; /* [::1], served too when it can be */
	bool names_port;      /* the rule is not for every port */
	bool is_reverse;      /* not forwarded: netfwd itself listens there */
};

/* --forward is a static rule that goes through the NIC. */
struct rule rule_from_forward(const struct forward_spec *spec, unsigned int index);

/* The rule that switches a whole protocol off: an ignore of every port, with
 * none but such rules before it. NULL: there is none. */
const struct rule *rule_find_switch_off(const struct rule_set *set, enum forward_proto proto);

/* The way that a rule's forwards take. */
enum rule_via rule_via_of(const struct rule_set *set, const struct rule *rule,
			  enum forward_proto proto);

struct rule_decision rule_decide(const struct rule_set *set, const struct rule_listener *listener);

/* "tcp" or "udp", "127.0.0.1:3000" or "[::]:53": nothing else is accepted, no
 * spaces, no names, no port 0. 0 or -EINVAL. What a guest reports goes through
 * the same function. */
int rule_listener_parse(const char *proto, const char *address, struct rule_listener *out);

/* Whether the virtual NIC reaches it, so that RULE_VIA_AUTO need not take a
 * tunnel: all but what listens on the guest's loopback. */
bool rule_listener_is_direct(const struct rule_listener *listener);

const char *rule_via_name(enum rule_via via);	    /* "ssh" */
const char *rule_proto_name(enum rule_proto proto); /* "tcp" */
