/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A DHCPv6 server for guests (RFC 8415): message in, message out, the only server
 * of its segment. It has no leases of its own: a guest has one number in the
 * network, and its owner knows which. */
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/dhcp6.h"

struct dhcp6_server;
struct loop;

struct dhcp6_server_owner {
	/* The address of the guest with this MAC, for settings.lease_s from now on if
	 * is_taken, and the name that it tells ("": none). -ENOSPC. */
	int (*address)(void *arg, const struct mac *mac, const char *name, bool is_taken,
		       struct ipaddr *out);
	void (*reply)(void *arg, const struct mac *mac, const struct ipaddr *to,
		      const void *message, size_t len);
};

struct dhcp6_server_config {
	struct dhcp6_settings settings;
	struct ipaddr prefix; /* a /64 */
	const struct dhcp6_server_owner *owner;
	void *arg;
};

struct dhcp6_server_counters {
	uint64_t malformed; /* no client's message, or not what its type must be */
	uint64_t foreign;   /* to another server */
	uint64_t exhausted; /* nothing left to give */
	uint64_t declined;  /* the address was in use */
};

/* -ENOMEM. */
int dhcp6_server_new(struct loop *loop, const struct dhcp6_server_config *config,
		     struct dhcp6_server **out);
void dhcp6_server_free(struct dhcp6_server *server); /* accepts NULL */
/* A client's message, and the addresses that it came from. */
void dhcp6_server_receive(struct dhcp6_server *server, const struct mac *mac,
			  const struct ipaddr *from, const uint8_t *message, size_t len);
const struct dhcp6_server_counters *dhcp6_server_counters(const struct dhcp6_server *server);
