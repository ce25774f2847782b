/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/tunnel_nic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/tunnel.h"
#include "netstack/base/list.h"
#include "netstack/stack.h"

#define GUEST_NUMBER 0x15 /* of a namespace in prefix6, see guest_link.c */

struct tunnel_nic {
	struct tunnel base;
	struct stack *stack;
	const struct stack_config *network;
	bool is_namespace;
};

static struct endpoint nic_endpoint(const struct tunnel_nic *t, const struct endpoint *to)
{
	struct endpoint guest = *to;

	if (!ipaddr_is_any(&guest.addr) && !ipaddr_is_loopback(&guest.addr))
		return guest;
	/* [::] may be IPv6 alone. Of a virtual machine the IPv6 address is not
	 * known; its [::] nearly always takes IPv4 as well */
	if (ipaddr_is_v4(&guest.addr) || !t->is_namespace) {
		guest.addr = t->network->guest4;
	} else if (t->network->is_shared) { /* as stack_assign() makes it */
		guest.addr = t->network->prefix6;
		memcpy(guest.addr.b + 12, ipaddr_v4_bytes(&t->network->guest4), 4);
	} else {
		guest.addr = t->network->prefix6;
		guest.addr.b[15] = GUEST_NUMBER;
	}
	return guest;
}

static int nic_dial(struct tunnel *base, const struct tunnel_place *guest, struct stream **out)
{
	struct tunnel_nic *t = container_of(base, struct tunnel_nic, base);
	struct endpoint to = nic_endpoint(t, &guest->endpoint);

	return guest->path ? -EOPNOTSUPP : stack_dial_tcp(t->stack, &to, out);
}

static int nic_open_udp(struct tunnel *base, const struct endpoint *guest,
			const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	struct tunnel_nic *t = container_of(base, struct tunnel_nic, base);
	struct endpoint to = nic_endpoint(t, guest);

	return stack_udp_open(t->stack, &to, owner, arg, out);
}

static void nic_free(struct tunnel *base)
{
	free(container_of(base, struct tunnel_nic, base));
}

static const struct tunnel_ops nic_ops = {
	.dial = nic_dial,
	.open_udp = nic_open_udp,
	.free = nic_free,
};

int tunnel_nic_new(struct stack *stack, const struct stack_config *network, bool is_namespace,
		   struct tunnel **out)
{
	struct tunnel_nic *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->base = (struct tunnel){ .ops = &nic_ops, .name = "direct", .state = TUNNEL_UP };
	t->stack = stack;
	t->network = network;
	t->is_namespace = is_namespace;
	*out = &t->base;
	return 0;
}
