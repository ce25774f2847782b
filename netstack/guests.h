/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guests of a segment: their leases (dhcp_server.h), their names, what each
 * may say it is (guard.h), and which addresses each has. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/dns.h"
#include "netstack/stack_config.h"

struct dhcp6_server_counters;
struct dhcp_server_counters;
struct egress;
struct guard;
struct guests;
struct loop;

/* The domain that names of guests are in. */
#define GUESTS_DOMAIN "netfwd.internal"

/* -ENOMEM; -EEXIST for two static guests of one address, MAC or name; -EINVAL
 * for a name that is none; -errno of the file of leases. What is wrong is logged.
 */
int guests_new(struct loop *loop, struct egress *egress, const struct stack_config *config,
	       struct guests **out);
void guests_free(struct guests *guests); /* accepts NULL */

/* NULL when they are trusted. */
struct guard *guests_guard(struct guests *guests);
/* A datagram to the DHCP server, and the MAC address it came from. */
void guests_receive_dhcp(struct guests *guests, const struct mac *from, const uint8_t *message,
			 size_t len);
/* A datagram to the DHCPv6 server, and the addresses it came from. */
void guests_receive_dhcp6(struct guests *guests, const struct mac *from, const struct ipaddr *addr,
			  const uint8_t *message, size_t len);
/* An ARP of a guest. */
void guests_saw(struct guests *guests, const struct ipaddr *addr, const struct mac *mac);
/* Answers a question about names that are ours: those of guests, of the host, and
 * addresses of this network. False for every other. */
bool guests_know(const struct guests *guests, const struct dns_question *question,
		 struct dns_answer *answer);
/* A lease for a guest that is configured by us, not by DHCP. -ENOSPC. */
int guests_assign(struct guests *guests, const struct mac *mac, const char *name,
		  struct ipaddr *addr4);
/* The IPv6 address of the guest with this IPv4 address, as DHCPv6 tells it: the
 * prefix with the other behind it. */
struct ipaddr guests_address6(const struct guests *guests, const struct ipaddr *addr4);

/* Called when a guest has got a lease, or another name. One user; NULL: none. */
void guests_on_change(struct guests *guests, void (*changed)(void *arg), void *arg);

#define GUESTS_MAX_ADDRESSES 8U

struct guest_entry {
	const char *name; /* "" if it has none */
	struct mac mac;
	struct ipaddr addresses[GUESTS_MAX_ADDRESSES]; /* IPv4 first */
	unsigned int n_addresses;
	uint64_t lease_until_s; /* of the wall clock; UINT64_MAX: for ever; 0: no lease */
};

/* Calls fn for every guest that has a lease or is connected. */
void guests_for_each(const struct guests *guests,
		     void (*fn)(void *arg, const struct guest_entry *entry), void *arg);
const struct dhcp_server_counters *guests_dhcp_counters(const struct guests *guests);
const struct dhcp6_server_counters *guests_dhcp6_counters(const struct guests *guests);
