/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/list.h"
#include "netstack/egress.h"

#define BUCKETS 4096U /* a power of 2 */
/* Linux's ephemeral range: what a guest expects a client to use. */
#define FIRST_PORT 32768U
#define N_PORTS 28232U
#define MAX_PORT_TRIES 64

struct table_flow {
	struct udp_flow flow;
	struct list node; /* udp_table.buckets */
	struct udp_table *table;
	struct endpoint gateway, guest;
	const struct udp_flow_owner *owner;
	void *arg;
};

struct udp_table {
	struct egress *egress;
	uint32_t next_port;
	struct list buckets[BUCKETS]; /* table_flow.node */
};

static struct list *bucket(struct udp_table *t, const struct endpoint *gateway,
			   const struct endpoint *guest)
{
	struct {
		struct ipaddr addr;
		uint16_t ports[2];
	} key = { guest->addr, { guest->port, gateway->port } };

	return &t->buckets[hash_bytes(&key, sizeof(key)) & (BUCKETS - 1)];
}

static struct table_flow *find(struct udp_table *t, const struct endpoint *gateway,
			       const struct endpoint *guest)
{
	struct list *b = bucket(t, gateway, guest);

	list_for_each(node, b) {
		struct table_flow *f = container_of(node, struct table_flow, node);

		if (endpoint_equal(&f->guest, guest) && endpoint_equal(&f->gateway, gateway))
			return f;
	}
	return NULL;
}

int udp_table_new(struct egress *egress, struct udp_table **out)
{
	struct udp_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->egress = egress;
	for (unsigned int i = 0; i < BUCKETS; i++)
		list_init(&t->buckets[i]);
	*out = t;
	return 0;
}

void udp_table_free(struct udp_table *t)
{
	free(t);
}

static int choose_port(struct udp_table *t, struct endpoint *gateway, const struct endpoint *guest)
{
	for (int i = 0; i < MAX_PORT_TRIES; i++) {
		uint32_t n = ++t->next_port;

		/* a keyed walk, so that ports are not guessed */
		gateway->port = (uint16_t)(FIRST_PORT + hash_bytes(&n, sizeof(n)) % N_PORTS);
		if (!find(t, gateway, guest))
			return 0;
	}
	return -EADDRNOTAVAIL;
}

static int table_flow_send(struct udp_flow *flow, const void *data, size_t len)
{
	struct table_flow *f = container_of(flow, struct table_flow, flow);
	struct iovec iov = { (void *)(uintptr_t)data, len };

	return egress_send_udp(f->table->egress, &f->gateway, &f->guest, &iov, 1);
}

static void table_flow_free(struct udp_flow *flow)
{
	struct table_flow *f = container_of(flow, struct table_flow, flow);

	list_unlink(&f->node);
	free(f);
}

static const struct udp_flow_ops table_flow_ops = {
	.send = table_flow_send,
	.free = table_flow_free,
};

int udp_table_open(struct udp_table *t, const struct endpoint *guest,
		   const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	struct table_flow *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->flow.ops = &table_flow_ops;
	f->table = t;
	f->guest = *guest;
	f->gateway.addr = *egress_gateway(t->egress, ipaddr_is_v4(&guest->addr));
	f->owner = owner;
	f->arg = arg;
	r = choose_port(t, &f->gateway, guest);
	if (r < 0) {
		free(f);
		return r;
	}
	list_append(bucket(t, &f->gateway, guest), &f->node);
	*out = &f->flow;
	return 0;
}

bool udp_table_receive(struct udp_table *t, const struct frame *frame, const struct packet *packet)
{
	struct table_flow *f = find(t, &packet->dst, &packet->src);
	size_t skip = (size_t)(packet->l4 + 8 - (uint8_t *)frame->refs[0].iov_base);
	size_t left = get_be16(packet->l4 + 4) - 8U;
	struct iovec iov[FRAME_MAX_REFS];
	int n = 0;

	if (!f)
		return false;
	for (int i = 0; i < frame->n_refs; i++) {
		size_t have = frame->refs[i].iov_len - skip;

		iov[n].iov_base = (uint8_t *)frame->refs[i].iov_base + skip;
		iov[n].iov_len = have < left ? have : left;
		left -= iov[n++].iov_len;
		skip = 0;
	}
	f->owner->receive(f->arg, iov, n);
	return true;
}

/* Type 3 code 3, or for IPv6 type 1 code 4, with the start of our datagram
 * behind its 8 bytes: no header of the frame, so not all of it is in refs[0]. */
bool udp_table_error(struct udp_table *t, const struct frame *frame, const struct packet *packet)
{
	size_t ip_size = packet->is_v4 ? 20 : 40;
	size_t offset = (size_t)(packet->l4 + 8 - (uint8_t *)frame->refs[0].iov_base);
	uint8_t quoted[40 + 8];
	struct endpoint gateway, guest;
	struct table_flow *f;

	if (packet->l4[0] != (packet->is_v4 ? 3 : 1) || packet->l4[1] != (packet->is_v4 ? 3 : 4) ||
	    frame_copy(frame, offset, quoted, ip_size + 8) < ip_size + 8)
		return false;
	if (packet->is_v4) {
		if (quoted[0] != 0x45 || quoted[9] != IP_PROTO_UDP)
			return false;
		gateway.addr = ipaddr_from_v4(quoted + 12);
		guest.addr = ipaddr_from_v4(quoted + 16);
	} else {
		if (quoted[0] >> 4 != 6 || quoted[6] != IP_PROTO_UDP)
			return false;
		gateway.addr = ipaddr_from_v6(quoted + 8);
		guest.addr = ipaddr_from_v6(quoted + 24);
	}
	gateway.port = get_be16(quoted + ip_size);
	guest.port = get_be16(quoted + ip_size + 2);
	f = find(t, &gateway, &guest);
	if (f)
		f->owner->refused(f->arg);
	return f != NULL;
}
