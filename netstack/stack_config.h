/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The addresses and the policy of the guests' network: what stack_new() is
 * given, and hands on to its parts. Plain data. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"

struct stack_config {
	struct ipaddr network4; /* of prefix4_bits bits */
	unsigned int prefix4_bits;
	struct ipaddr gateway4; /* the gateway, and the host's loopback */
	struct ipaddr dns4;
	struct ipaddr guest4;  /* the first address that DHCP gives out */
	struct ipaddr prefix6; /* a /64 */
	struct ipaddr gateway6;
	struct ipaddr dns6;
	uint16_t mtu;		 /* told to guests; 576 to 65520 */
	bool host_loopback;	 /* guests reach the host's loopback at the gateway */
	const char *resolv_conf; /* the host's resolvers, read at each query */
};
