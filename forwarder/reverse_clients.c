/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/reverse_clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/tunnel.h"
#include "netstack/base/list.h"
#include "netstack/udp_flow.h"

#define DATAGRAM_SIZE 65536

struct reverse_clients {
	struct udp_dialer server;
	struct list pairs; /* pair.node, the longest unused first */
	unsigned int n;
	struct reverse_clients_counters counters;
	uint8_t datagram[DATAGRAM_SIZE]; /* one that came in pieces */
};

/* One client: its end in the guest, and its socket here. */
struct pair {
	struct list node; /* reverse_clients.pairs */
	struct reverse_clients *all;
	struct udp_flow *guest, *host;
};

static void pair_free(struct pair *p)
{
	list_unlink(&p->node);
	p->all->n--;
	udp_flow_free(p->guest);
	udp_flow_free(p->host);
	free(p);
}

static void touch(struct pair *p)
{
	list_unlink(&p->node);
	list_append(&p->all->pairs, &p->node);
}

/* The datagram as one piece; NULL: it is longer than any can be. */
static const void *in_one_piece(struct reverse_clients *all, const struct iovec *iov, int n,
				size_t *len)
{
	size_t used = 0;

	*len = n > 0 ? iov[0].iov_len : 0;
	if (n == 1)
		return iov[0].iov_base;
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > sizeof(all->datagram) - used)
			return NULL;
		memcpy(all->datagram + used, iov[i].iov_base, iov[i].iov_len);
		used += iov[i].iov_len;
	}
	*len = used;
	return all->datagram;
}

static void forward(struct pair *p, struct udp_flow *to, const struct iovec *iov, int n)
{
	struct reverse_clients *all = p->all;
	size_t len;
	const void *data = in_one_piece(all, iov, n, &len);

	touch(p);
	if (!data || udp_flow_send(to, data, len) < 0)
		all->counters.dropped++;
	else if (to == p->host)
		all->counters.to_host_bytes += len;
	else
		all->counters.to_guest_bytes += len;
}

/* --- the guest's end --- */

static void on_guest_datagram(void *arg, const struct iovec *iov, int n)
{
	struct pair *p = arg;

	forward(p, p->host, iov, n);
}

static void on_guest_refused(void *arg)
{
	(void)arg; /* is for the client to hear */
}

static void on_guest_gone(void *arg)
{
	pair_free(arg);
}

/* --- the host's --- */

static void on_host_datagram(void *arg, const struct iovec *iov, int n)
{
	struct pair *p = arg;

	forward(p, p->guest, iov, n);
}

static void on_host_refused(void *arg)
{
	struct pair *p = arg;

	if (p->guest->ops->refuse)
		p->guest->ops->refuse(p->guest);
}

/* --- */

static int pair_open(struct pair *p, struct tunnel *tunnel, uint64_t client)
{
	static const struct udp_flow_owner guest = {
		.receive = on_guest_datagram,
		.refused = on_guest_refused,
		.gone = on_guest_gone,
	};
	static const struct udp_flow_owner host = {
		.receive = on_host_datagram,
		.refused = on_host_refused,
	};
	const struct udp_dialer *server = &p->all->server;
	int r = server->dial(server->arg, &host, p, &p->host);

	if (r < 0)
		return r;
	return tunnel->ops->take_udp(tunnel, client, &guest, p, &p->guest);
}

int reverse_clients_add(struct reverse_clients *all, struct tunnel *tunnel, uint64_t client)
{
	struct pair *p;
	int r;

	if (all->n == REVERSE_CLIENTS_MAX)
		pair_free(container_of(all->pairs.next, struct pair, node));
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->all = all;
	list_append(&all->pairs, &p->node);
	all->n++;
	r = pair_open(p, tunnel, client);
	if (r < 0)
		pair_free(p);
	else
		all->counters.total++;
	return r;
}

int reverse_clients_new(const struct udp_dialer *server, struct reverse_clients **out)
{
	struct reverse_clients *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->server = *server;
	list_init(&all->pairs);
	*out = all;
	return 0;
}

void reverse_clients_free(struct reverse_clients *all)
{
	if (!all)
		return;
	list_for_each(node, &all->pairs)
		pair_free(container_of(node, struct pair, node));
	free(all);
}

unsigned int reverse_clients_n(const struct reverse_clients *all)
{
	return all->n;
}

const struct reverse_clients_counters *reverse_clients_counters(const struct reverse_clients *all)
{
	return &all->counters;
}
