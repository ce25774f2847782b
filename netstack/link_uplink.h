/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* An existing Ethernet interface of the host as a link, by a packet socket
 * (packet(7)): a bridge, a VXLAN device, a real card. */
#include <stdint.h>

struct link;
struct loop;

/* Its own MTU counts if it is smaller than mtu. -errno after one log line: -EPERM
 * without CAP_NET_RAW, -EPROTOTYPE for an interface that is not Ethernet. */
int link_uplink_new(struct loop *loop, const char *ifname, uint16_t mtu, struct link **out);
