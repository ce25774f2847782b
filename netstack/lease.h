/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which IPv4 address a guest has: a table that remembers, so that a guest that
 * comes back has the one it had. Pure; time comes as an argument, in seconds of
 * the wall clock, since leases outlive the program. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

#define LEASE_MAX 1024U
#define LEASE_CLIENT_ID_MAX 32U
#define LEASE_NAME_SIZE 64U /* a label (RFC 1035, section 2.3.1), with NUL */
/* An address that somebody uses without a lease is left alone for so long. */
#define LEASE_DECLINED_S 600U
/* Of so many at once: a guest cannot decline the whole range. */
#define LEASE_MAX_DECLINED 16U
/* An offer stands for so long. */
#define LEASE_OFFER_S 60U

struct lease_client {
	struct mac mac;
	uint8_t id[LEASE_CLIENT_ID_MAX]; /* DHCP option 61; id_len 0: none */
	uint8_t id_len;
};

enum lease_state {
	LEASE_OFFERED,
	LEASE_BOUND,	/* until until_s; the guest's afterwards as well, unless it is
			 * needed for another */
	LEASE_DECLINED, /* nobody's; somebody is in the way */
};

struct lease {
	enum lease_state state;
	bool is_static; /* configured; the guest's for ever */
	struct ipaddr addr;
	struct lease_client client;
	char name[LEASE_NAME_SIZE]; /* lower case; "" if the guest has told none */
	uint64_t until_s;
};

struct lease_range {
	struct ipaddr first, last; /* IPv4, both included */
};

#define LEASE_MAX_RESERVED 8U

struct lease_table {
	struct lease_range range;
	struct ipaddr reserved[LEASE_MAX_RESERVED]; /* the host's; never given */
	unsigned int n_reserved;
	unsigned int n;
	struct lease leases[LEASE_MAX]; /* n of them */
};

void lease_table_init(struct lease_table *t, const struct lease_range *range);
/* This address is never given to anybody. At most LEASE_MAX_RESERVED. */
void lease_reserve(struct lease_table *t, const struct ipaddr *addr);
/* A guest that always has this address, which may lie outside the range, and a
 * name or "". -EEXIST for an address or MAC that is there already, -ENOSPC. */
int lease_add_static(struct lease_table *t, const struct mac *mac, const struct ipaddr *addr,
		     const char *name);

/* The client's, by its MAC, or else by its id. NULL. */
struct lease *lease_find(struct lease_table *t, const struct lease_client *client);
/* NULL when nobody has that address, or that name. */
struct lease *lease_of_address(struct lease_table *t, const struct ipaddr *addr);
struct lease *lease_of_name(struct lease_table *t, const char *name);

/* The client's own lease or, if it has none, a new one: of the address it wants
 * (any: none) if nobody has it, of one that nobody ever had, or of the one that
 * ended longest ago. NULL when there is none. */
struct lease *lease_choose(struct lease_table *t, const struct lease_client *client,
			   const struct ipaddr *wanted, uint64_t now_s);
/* The client has it from now on. */
void lease_bind(struct lease *lease, const struct lease_client *client, uint64_t until_s);
/* Somebody uses this address without having the lease. */
void lease_decline(struct lease_table *t, const struct ipaddr *addr, uint64_t now_s);
/* Sets the name: the first label of text, if it is one and nobody else's.
 * -EINVAL, -EEXIST: the lease has no name then. */
int lease_set_name(struct lease_table *t, struct lease *lease, const char *text);

/* Bound leases as text, one a line:
 *   ADDRESS MAC UNTIL CLIENT-ID NAME
 * where the id is in hex, and it and the name may be "-". Returns the length, as
 * snprintf() does. */
size_t lease_format(const struct lease_table *t, char *text, size_t size);
/* Adds the leases of such a text; lines that are wrong, or of addresses outside
 * the range, are left out. Returns how many were. */
unsigned int lease_parse(struct lease_table *t, const char *text);
