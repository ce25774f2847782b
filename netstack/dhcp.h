/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* DHCP messages (RFC 2131, options of RFC 2132 and RFC 3397), from a client's
 * bytes to plain data and from plain data to a server's bytes. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/lease.h"

#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68

enum dhcp_type {
	DHCP_DISCOVER = 1,
	DHCP_OFFER,
	DHCP_REQUEST,
	DHCP_DECLINE,
	DHCP_ACK,
	DHCP_NAK,
	DHCP_RELEASE,
	DHCP_INFORM,
};

struct dhcp_request {
	enum dhcp_type type; /* one that a client sends */
	uint32_t xid;
	bool wants_broadcast;
	struct ipaddr ciaddr;	 /* any: none, as in all of these */
	struct ipaddr requested; /* option 50 */
	struct ipaddr server;	 /* option 54 */
	struct lease_client client;
	char name[LEASE_NAME_SIZE]; /* option 12 as sent; "" if none, or too long */
};

/* -EINVAL for what is no client's message; -EOPNOTSUPP for one of a relay
 * agent. */
int dhcp_parse(const uint8_t *message, size_t len, struct dhcp_request *out);

#define DHCP_MAX_NTP 4U
#define DHCP_SEARCH_MAX 160U

/* What a server tells every client. */
struct dhcp_settings {
	struct ipaddr server, router, dns;
	unsigned int prefix_bits;
	struct ipaddr ntp[DHCP_MAX_NTP]; /* n_ntp of them */
	unsigned int n_ntp;
	uint16_t mtu;
	uint32_t lease_s;
	const char *domain; /* NULL: none */
	/* the search list in the form of DNS names; search_len 0: none */
	uint8_t search[DHCP_SEARCH_MAX];
	size_t search_len;
};

/* Adds a name to the search list. -EINVAL if it is none; -ENOSPC. */
int dhcp_add_search(struct dhcp_settings *settings, const char *name);

struct dhcp_reply {
	enum dhcp_type type;	/* OFFER, ACK or NAK */
	struct ipaddr yiaddr;	/* any: the answer to an INFORM */
	const char *nak_reason; /* of a NAK */
};

/* No more than any client takes (RFC 2131, section 2). */
#define DHCP_REPLY_MAX 548U
/* Returns the length. */
size_t dhcp_write(const struct dhcp_settings *settings, const struct dhcp_request *request,
		  const struct dhcp_reply *reply, uint8_t message[static DHCP_REPLY_MAX]);
