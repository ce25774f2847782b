/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The addresses and the policy of the guests' network: what stack_new() is
 * given, and hands on to its parts. Plain data. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"

#define STACK_MAX_NTP 4U
#define STACK_MAX_SEARCH 4U

/* A guest that always has the same address and name. */
struct stack_static_guest {
	struct mac mac;
	struct ipaddr addr; /* IPv4; any: whichever it gets */
	const char *name;   /* one label; NULL: as it says itself */
};

/* Of a network that many guests share; all of it is unused otherwise. */
struct stack_shared {
	struct ipaddr host4, host6;	  /* of the host's kernel, if it is on the segment */
	bool isolate;			  /* guests do not reach each other */
	bool trust_guests;		  /* no port security */
	const char *lease_path;		  /* NULL: leases end with the program */
	struct ipaddr ntp[STACK_MAX_NTP]; /* n_ntp of them, IPv4 */
	unsigned int n_ntp;
	const char *search[STACK_MAX_SEARCH]; /* n_search domains, after our own */
	unsigned int n_search;
	const struct stack_static_guest *guests; /* n_guests of them */
	unsigned int n_guests;
};

struct stack_config {
	struct ipaddr network4; /* of prefix4_bits bits */
	unsigned int prefix4_bits;
	struct ipaddr gateway4; /* the gateway, and the host's loopback */
	struct ipaddr dns4;
	struct ipaddr guest4, last4; /* the first and last address that DHCP gives out;
				      * last4 any: to the end of the network */
	uint32_t lease_s;	     /* how long a lease lasts */
	struct ipaddr prefix6;	     /* a /64 */
	struct ipaddr gateway6;
	struct ipaddr dns6;
	uint16_t mtu;		 /* told to guests; 576 to 65520 */
	bool host_loopback;	 /* guests reach the host's loopback at the gateway */
	const char *resolv_conf; /* the host's resolvers, read at each query */
	bool is_shared;		 /* by many guests, none of which is trusted */
	struct stack_shared shared;
};
