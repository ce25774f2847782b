/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A DHCP server for guests (RFC 2131): message in, message out. It asks by ARP
 * whether an address is in use before it offers it to somebody who has not had
 * it (section 3.1), and says no to what it has not given: it is the only server
 * of its segment.
 *
 * Leases are kept in a file, if there is one, which is replaced as a whole, a
 * moment after a change and at the end. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/dhcp.h"
#include "netstack/lease.h"

struct dhcp_server;
struct loop;

/* Where a reply goes: as a broadcast, or to a client which may have no address
 * yet and so does not answer ARP. */
struct dhcp_destination {
	struct mac mac;
	struct ipaddr addr;
};

struct dhcp_server_owner {
	void (*reply)(void *arg, const struct dhcp_destination *to, const void *message,
		      size_t len);
	/* An ARP probe (RFC 5227, section 2.1.1) is to be sent. */
	void (*probe)(void *arg, const struct ipaddr *addr);
	/* What this guest is called, whatever it says itself; NULL: what it says. */
	const char *(*name)(void *arg, const struct mac *mac);
	/* A guest has a lease that it had not, or another name. */
	void (*changed)(void *arg);
};

struct dhcp_server_config {
	struct dhcp_settings settings;
	struct lease_range range;
	const char *path; /* of the file; NULL: leases end with the program */
	bool probes;	  /* an address may be in use by another */
	const struct dhcp_server_owner *owner;
	void *arg;
};

struct dhcp_server_counters {
	uint64_t malformed; /* no client's message, or a relay agent's */
	uint64_t forged;    /* a client address that is not the sender's */
	uint64_t exhausted; /* nothing left to offer */
	uint64_t refused;   /* answered by a NAK */
	uint64_t conflicts; /* an address in use without a lease */
	uint64_t busy;	    /* too many to be asked for at once: the client repeats */
};

/* -ENOMEM; -errno of the file, if it is there and cannot be read. */
int dhcp_server_new(struct loop *loop, const struct dhcp_server_config *config,
		    struct dhcp_server **out);
void dhcp_server_free(struct dhcp_server *server); /* accepts NULL */

/* For static leases and reserved addresses, before the first message; for names
 * and addresses later. Leases are not to be changed. */
struct lease_table *dhcp_server_leases(struct dhcp_server *server);
/* Reads the file: once what is static or reserved was said. 0; -errno. */
int dhcp_server_load(struct dhcp_server *server);
/* The lease of a guest whose address we configure ourselves (a namespace), made
 * if there is none. -ENOSPC. */
int dhcp_server_assign(struct dhcp_server *server, const struct mac *mac, const char *name,
		       struct ipaddr *out);

/* The lease of a guest that asks by DHCPv6, made if there is none: offered, or with
 * is_taken bound as by an ACK; one that lasts longer already stays as it is. -ENOSPC. */
int dhcp_server_hold(struct dhcp_server *server, const struct mac *mac, const char *name,
		     bool is_taken, struct ipaddr *out);

/* A client's message, and the MAC address that it came from. */
void dhcp_server_receive(struct dhcp_server *server, const struct mac *from, const uint8_t *message,
			 size_t len);
/* Somebody uses this address: an ARP of his has come. */
void dhcp_server_saw(struct dhcp_server *server, const struct ipaddr *addr, const struct mac *mac);

const struct dhcp_server_counters *dhcp_server_counters(const struct dhcp_server *server);
