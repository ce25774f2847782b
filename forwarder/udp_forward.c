/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/udp_forward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forwarder/client_table.h"
#include "forwarder/icmp_reply.h"
#include "forwarder/listen_socket.h"
#include "forwarder/pktinfo.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/udp_flow.h"

/* Datagrams taken by one system call, and in one round of the loop. */
#define BATCH 32
/* Over IPv6 one byte more than 65527 would do; never truncated. */
#define DATAGRAM_SIZE 65536
/* So that a burst of the longest datagrams waits instead of being lost; the
 * kernel caps it at net.core.rmem_max. */
#define SOCKET_BUFFER_BYTES (4 << 20)

struct udp_hub {
	struct loop *loop;
	struct client_table flows; /* flow.entry */
	struct icmp_reply *icmp;   /* NULL: not allowed to */
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage clients[BATCH];
	struct pktinfo_buffer control[BATCH];
	uint8_t (*data)[DATAGRAM_SIZE]; /* BATCH of them */
};

struct udp_forward {
	struct udp_hub *hub;
	struct endpoint host;
	char name[ADDR_TEXT_SIZE]; /* of host, for logs */
	struct udp_dialer dialer;
	int fd;
	struct watch *watch;
	struct client_share flows; /* flow.entry */
	bool is_paused;
	struct udp_forward_counters counters;
};

struct flow {
	struct client_entry entry;
	struct udp_forward *forward;
	struct sockaddr_storage client;
	struct udp_flow *guest;
	struct timer *idle;
	uint64_t last_used_ms;
	bool has_replied;
};

int udp_hub_new(struct loop *loop, struct udp_hub **out)
{
	struct udp_hub *hub = calloc(1, sizeof(*hub));
	int r;

	if (!hub)
		return -ENOMEM;
	hub->data = calloc(BATCH, sizeof(*hub->data));
	if (!hub->data) {
		free(hub);
		return -ENOMEM;
	}
	hub->loop = loop;
	client_table_init(&hub->flows, UDP_FLOWS_MAX);
	for (int i = 0; i < BATCH; i++) {
		hub->iov[i].iov_base = hub->data[i];
		hub->iov[i].iov_len = sizeof(hub->data[i]);
		hub->messages[i].msg_hdr.msg_iov = &hub->iov[i];
		hub->messages[i].msg_hdr.msg_iovlen = 1;
		hub->messages[i].msg_hdr.msg_name = &hub->clients[i];
		hub->messages[i].msg_hdr.msg_control = &hub->control[i];
	}
	r = icmp_reply_new(&hub->icmp);
	if (r < 0) {
		hub->icmp = NULL;
		log_debug("udp: clients will not be told that the guest refuses: "
			  "no ICMP without CAP_NET_RAW (%s)",
			  strerror(-r));
	}
	*out = hub;
	return 0;
}

void udp_hub_free(struct udp_hub *hub)
{
	if (!hub)
		return;
	icmp_reply_free(hub->icmp);
	free(hub->data);
	free(hub);
}

static void flow_free(struct flow *flow)
{
	struct udp_forward *f = flow->forward;

	client_table_remove(&f->hub->flows, &f->flows, &flow->entry);
	udp_flow_free(flow->guest);
	timer_free(flow->idle);
	free(flow);
}

static void flow_touch(struct flow *flow)
{
	struct udp_forward *f = flow->forward;

	flow->last_used_ms = loop_now_ms(f->hub->loop);
	client_table_touch(&f->hub->flows, &f->flows, &flow->entry);
}

/* The timer is not moved at every datagram; it is looked at when it is over. */
static void on_idle(void *arg)
{
	struct flow *flow = arg;
	uint64_t unused_ms = loop_now_ms(flow->forward->hub->loop) - flow->last_used_ms;
	uint64_t limit_ms = flow->has_replied ? UDP_IDLE_BOTH_WAYS_MS : UDP_IDLE_ONE_WAY_MS;

	if (unused_ms >= limit_ms)
		flow_free(flow);
	else
		timer_start(flow->idle, limit_ms - unused_ms);
}

/* The address of the host that the client knows. */
static const struct ipaddr *flow_host_address(const struct flow *flow)
{
	const struct ipaddr *bound = &flow->forward->host.addr;

	return ipaddr_is_any(bound) ? &flow->entry.key.host : bound;
}

static socklen_t sockaddr_size(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static void on_guest_datagram(void *arg, const struct iovec *iov, int n)
{
	struct flow *flow = arg;
	struct udp_forward *f = flow->forward;
	struct pktinfo_buffer control;
	struct msghdr msg = {
		.msg_name = &flow->client,
		.msg_namelen = sockaddr_size(&flow->client),
		.msg_iov = (struct iovec *)(uintptr_t)iov, /* is only read */
		.msg_iovlen = (size_t)n,
	};
	ssize_t sent;

	flow_touch(flow);
	flow->has_replied = true;
	if (ipaddr_is_any(&f->host.addr))
		pktinfo_set_source(&msg, &flow->entry.key.host, &control);
	sent = sendmsg(f->fd, &msg, 0);
	if (sent < 0) {
		f->counters.host_busy++;
		log_limited(LOG_LEVEL_DEBUG, "udp %s: a reply was dropped: %s", f->name,
			    strerror(errno));
		return;
	}
	f->counters.to_host++;
	f->counters.to_host_bytes += (uint64_t)sent;
}

static void on_guest_refused(void *arg)
{
	struct flow *flow = arg;
	struct udp_forward *f = flow->forward;
	struct endpoint host = { *flow_host_address(flow), f->host.port };

	if (f->hub->icmp && icmp_reply_refuse(f->hub->icmp, &flow->client, &host) == 0)
		f->counters.refused++;
	else
		f->counters.refused_mute++;
}

static const struct udp_flow_owner guest_owner = {
	.receive = on_guest_datagram,
	.refused = on_guest_refused,
};

static struct flow *flow_of(struct client_entry *entry)
{
	return container_of(entry, struct flow, entry);
}

static int flow_open(struct flow *flow)
{
	struct udp_forward *f = flow->forward;
	int r = timer_new(f->hub->loop, on_idle, flow, &flow->idle);

	if (r < 0)
		return r;
	r = f->dialer.dial(f->dialer.arg, &guest_owner, flow, &flow->guest);
	if (r < 0)
		return r;
	timer_start(flow->idle, UDP_IDLE_ONE_WAY_MS);
	return 0;
}

static int flow_new(struct udp_forward *f, const struct client_key *key,
		    const struct sockaddr_storage *client, struct flow **out)
{
	struct client_entry *victim;
	struct flow *flow;
	int r;

	while ((victim = client_table_victim(&f->hub->flows, &f->flows))) {
		flow_of(victim)->forward->counters.flows_evicted++;
		flow_free(flow_of(victim));
	}
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return -ENOMEM;
	flow->forward = f;
	flow->entry.key = *key;
	flow->client = *client;
	client_table_add(&f->hub->flows, &f->flows, &flow->entry);
	r = flow_open(flow);
	if (r < 0) {
		flow_free(flow);
		return r;
	}
	f->counters.flows++;
	*out = flow;
	return 0;
}

static int key_of_message(struct udp_forward *f, struct msghdr *msg, struct client_key *key)
{
	const struct sockaddr_storage *sa = msg->msg_name;
	struct endpoint client;
	int r = endpoint_from_sockaddr(sa, &client);

	if (r < 0)
		return r;
	memset(key, 0, sizeof(*key));
	key->forward = f;
	key->client = client.addr;
	key->client_port = client.port;
	if (sa->ss_family == AF_INET6)
		key->scope_id = ((const struct sockaddr_in6 *)sa)->sin6_scope_id;
	return ipaddr_is_any(&f->host.addr) ? pktinfo_get(msg, &key->host) : 0;
}

static int find_flow(struct udp_forward *f, struct msghdr *msg, struct flow **out)
{
	struct client_entry *entry;
	struct client_key key;
	int r = key_of_message(f, msg, &key);

	if (r < 0)
		return r;
	entry = client_table_find(&f->hub->flows, &key);
	if (!entry)
		return flow_new(f, &key, msg->msg_name, out);
	*out = flow_of(entry);
	return 0;
}

static void forward_datagram(struct udp_forward *f, struct msghdr *msg, size_t len)
{
	struct flow *flow;
	int r = find_flow(f, msg, &flow);

	if (r < 0) {
		f->counters.dial_failed++;
		log_limited(LOG_LEVEL_WARN, "udp %s: no flow to the guest: %s", f->name,
			    strerror(-r));
		return;
	}
	flow_touch(flow);
	r = udp_flow_send(flow->guest, msg->msg_iov->iov_base, len);
	if (r == -EMSGSIZE) {
		f->counters.too_long++;
	} else if (r < 0) {
		f->counters.guest_busy++;
	} else {
		f->counters.to_guest++;
		f->counters.to_guest_bytes += len;
	}
}

static void on_readable(void *arg, unsigned int events)
{
	struct udp_forward *f = arg;
	struct udp_hub *hub = f->hub;
	int n;

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct msghdr *msg = &hub->messages[i].msg_hdr;

		msg->msg_namelen = sizeof(hub->clients[i]);
		msg->msg_controllen = sizeof(hub->control[i]);
	}
	n = recvmmsg(f->fd, hub->messages, BATCH, 0, NULL);
	for (int i = 0; i < n; i++)
		forward_datagram(f, &hub->messages[i].msg_hdr, hub->messages[i].msg_len);
}

/* f->fd is bound. */
static int prepare_socket(struct udp_forward *f)
{
	const int size = SOCKET_BUFFER_BYTES;
	int r = listen_socket_address(f->fd, &f->host);

	if (r < 0)
		return r;
	endpoint_format(&f->host, f->name);
	if (ipaddr_is_any(&f->host.addr)) {
		r = pktinfo_enable(f->fd, ipaddr_is_v4(&f->host.addr) ? AF_INET : AF_INET6);
		if (r < 0)
			return r;
	}
	/* Less is slower in bursts, not wrong. */
	(void)setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(f->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return watch_new(f->hub->loop, f->fd, on_readable, f, &f->watch);
}

int udp_forward_new_from_fd(struct udp_hub *hub, int fd, const struct udp_dialer *dialer,
			    struct udp_forward **out)
{
	struct udp_forward *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	f->hub = hub;
	f->fd = fd;
	f->dialer = *dialer;
	client_share_init(&f->flows, UDP_FLOWS_PER_FORWARD);
	r = prepare_socket(f);
	if (r < 0) {
		udp_forward_free(f);
		return r;
	}
	*out = f;
	return 0;
}

int udp_forward_new(struct udp_hub *hub, const struct endpoint *host,
		    const struct udp_dialer *dialer, struct udp_forward **out)
{
	int fd = listen_socket_bind(FORWARD_UDP, host);

	return fd < 0 ? fd : udp_forward_new_from_fd(hub, fd, dialer, out);
}

void udp_forward_start(struct udp_forward *f)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	if (f->is_paused && connect(f->fd, &nobody, sizeof(nobody)) < 0)
		log_warn("udp %s: cannot go on: %s", f->name, strerror(errno));
	f->is_paused = false;
	watch_want(f->watch, LOOP_READ);
}

/* Connected to itself, the socket has no other peer: the kernel answers
 * everybody that the port is unreachable. */
void udp_forward_pause(struct udp_forward *f)
{
	struct sockaddr_storage sa;
	struct endpoint self = f->host;
	socklen_t len;

	if (ipaddr_is_any(&self.addr))
		self.addr = ipaddr_is_v4(&self.addr) ? IPADDR_V4(127, 0, 0, 1) :
						       (struct ipaddr){ { [15] = 1 } };
	len = endpoint_to_sockaddr(&self, &sa);
	if (connect(f->fd, (struct sockaddr *)&sa, len) < 0)
		log_debug("udp %s: cannot pause: %s", f->name, strerror(errno));
	else
		f->is_paused = true;
	watch_want(f->watch, 0);
}

void udp_forward_free(struct udp_forward *f)
{
	if (!f)
		return;
	while (!list_empty(&f->flows.by_use))
		flow_free(
			flow_of(container_of(f->flows.by_use.next, struct client_entry, in_share)));
	watch_free(f->watch);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

const struct endpoint *udp_forward_host(const struct udp_forward *f)
{
	return &f->host;
}

unsigned int udp_forward_n_flows(const struct udp_forward *f)
{
	return f->flows.n;
}

const struct udp_forward_counters *udp_forward_counters(const struct udp_forward *f)
{
	return &f->counters;
}
