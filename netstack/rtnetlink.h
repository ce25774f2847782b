/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Configuring an interface of the calling process's network namespace
 * (rtnetlink(7)). All return 0 or -errno. */
#include <stdint.h>

#include "netstack/addr.h"

/* A socket for the calls below; close(2) it. -errno. */
int rtnetlink_open(void);
int rtnetlink_set_up(int sock, unsigned int ifindex);
int rtnetlink_set_mtu(int sock, unsigned int ifindex, uint32_t mtu, uint32_t tx_queue_len);
int rtnetlink_set_mac(int sock, unsigned int ifindex, const struct mac *mac);
/* IPv6 addresses are usable at once, without duplicate address detection. */
int rtnetlink_add_address(int sock, unsigned int ifindex, const struct ipaddr *addr,
			  unsigned int prefix_bits);
int rtnetlink_add_default_route(int sock, unsigned int ifindex, const struct ipaddr *gateway);
