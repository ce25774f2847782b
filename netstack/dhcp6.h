/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* DHCPv6 messages (RFC 8415, options of RFC 3646 and RFC 4704), from a client's
 * bytes to plain data and from plain data to a server's bytes. Of addresses IA_NA
 * alone; what else a client asks for is left out of the answer. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/dhcp.h" /* DHCP_SEARCH_MAX */
#include "netstack/lease.h"

#define DHCP6_SERVER_PORT 547
#define DHCP6_CLIENT_PORT 546

enum dhcp6_type {
	DHCP6_SOLICIT = 1,
	DHCP6_ADVERTISE,
	DHCP6_REQUEST,
	DHCP6_CONFIRM,
	DHCP6_RENEW,
	DHCP6_REBIND,
	DHCP6_REPLY,
	DHCP6_RELEASE,
	DHCP6_DECLINE,
	DHCP6_INFORMATION = 11,
};

enum dhcp6_status {
	DHCP6_SUCCESS,
	DHCP6_NO_ADDRESS = 2,
	DHCP6_NO_BINDING,
	DHCP6_NOT_ON_LINK,
};

#define DHCP6_DUID_MAX 130U /* section 11.1, with the type */
/* A client has one for each interface; more than these are not answered. */
#define DHCP6_MAX_IA 4U
#define DHCP6_MAX_ADDRESSES 4U /* of one; more are not looked at */

struct dhcp6_duid {
	uint8_t bytes[DHCP6_DUID_MAX];
	size_t len; /* 0: none */
};

/* An association of identity (IA_NA): what a client calls its addresses. */
struct dhcp6_ia {
	uint32_t iaid;
	struct ipaddr addresses[DHCP6_MAX_ADDRESSES]; /* n of them */
	unsigned int n;
};

struct dhcp6_request {
	enum dhcp6_type type; /* one that a client sends */
	uint32_t xid;	      /* 24 bits */
	struct dhcp6_duid client, server;
	struct dhcp6_ia ias[DHCP6_MAX_IA]; /* n_ias of them */
	unsigned int n_ias;
	bool is_rapid;		    /* it takes a reply at once */
	char name[LEASE_NAME_SIZE]; /* first label of its name; "" if none, or too long */
};

/* -EINVAL for what is no client's message, or lacks what its type must have, or
 * has what it must not (section 16). */
int dhcp6_parse(const uint8_t *message, size_t len, struct dhcp6_request *out);

/* What a server tells every client. */
struct dhcp6_settings {
	struct dhcp6_duid server;
	struct ipaddr dns;
	uint32_t lease_s;
	/* the search list in the form of DNS names; search_len 0: none */
	uint8_t search[DHCP_SEARCH_MAX];
	size_t search_len;
};

struct dhcp6_reply {
	enum dhcp6_type type;	  /* ADVERTISE or REPLY */
	enum dhcp6_status status; /* of the whole: only if has_status */
	bool has_status;
	bool has_addresses;	 /* the request's IAs are answered, */
	struct ipaddr address;	 /* the first by this address; any: there is none */
	enum dhcp6_status no_ia; /* what is said of an IA that gets none */
};

#define DHCP6_REPLY_MAX 1024U
/* Returns the length. */
size_t dhcp6_write(const struct dhcp6_settings *settings, const struct dhcp6_request *request,
		   const struct dhcp6_reply *reply, uint8_t message[static DHCP6_REPLY_MAX]);
