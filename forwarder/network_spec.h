/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the command line and the configuration file accept alike. Pure. */
#include "netstack/addr.h"

#define NETWORK_SPEC_MTU_MIN 1280 /* IPv6's, RFC 8200 section 5 */
#define NETWORK_SPEC_MTU_MAX 65520
#define NETWORK_SPEC_BUSY_POLL_MAX 1000 /* microseconds */

#define NETWORK_SPEC_ERROR_SIZE 160

/* An IPv4 network such as 192.168.5.0/24, /8 to /27. 0, or -EINVAL with what it
 * must be: "must be ...". */
int network_spec_parse(const char *text, struct ipaddr *network, unsigned int *bits,
		       char error[static NETWORK_SPEC_ERROR_SIZE]);
/* The same for the name of an interface. */
int network_spec_check_ifname(const char *name, char error[static NETWORK_SPEC_ERROR_SIZE]);
/* IPv4 addresses such as 192.168.105.16-192.168.105.99, both included. */
int network_spec_parse_range(const char *text, struct ipaddr *first, struct ipaddr *last,
			     char error[static NETWORK_SPEC_ERROR_SIZE]);
/* Where guests' loopback addresses start, such as 127.105.0.0. */
int network_spec_parse_loopback(const char *text, struct ipaddr *out,
				char error[static NETWORK_SPEC_ERROR_SIZE]);
/* The MAC address of one station, such as 52:54:00:12:34:56. */
int network_spec_parse_mac(const char *text, struct mac *out,
			   char error[static NETWORK_SPEC_ERROR_SIZE]);
