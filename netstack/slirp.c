/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/slirp.h"

#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "netstack/amend.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/neighbor_answer.h"

/* Every UDP or ICMP flow of a guest is a socket of ours for four minutes. */
#define MAX_FLOWS 1024U
#define FLOW_MS 240000U
#define ADMITTED_SLOTS 4096U /* a power of 2 */
#define ADMITTED_WAYS 32U    /* a flow may be in any of these neighbouring slots */
/* It asks for one MAC per packet that it has to send; what is beyond is asked of
 * the guest. */
#define MAX_ANSWERS 32U
/* The largest libslirp takes; cutting to the link's MTU is done behind it. */
#define SLIRP_MTU 65521U
#define MAX_CLOCK_LAG_MS 1000U
#define EXPIRY_CHECK_MS 10000U

struct polled {
	struct watch *watch; /* NULL: nothing polled on this descriptor */
	struct slirp_gateway *gateway;
	int fd;
	int wanted, ready;  /* SLIRP_POLL_* */
	unsigned int round; /* of the last fill that named it */
};

/* A flow that got a socket. */
struct admitted {
	uint32_t tag;
	uint64_t used_ms; /* last; 0: free */
};

struct slirp_gateway {
	Slirp *slirp;
	struct loop *loop;
	struct loop_hook hook;
	struct timer *wakeup; /* when libslirp wants to look at its timers */
	struct polled **by_fd;
	int n_by_fd;
	unsigned int round;
	uint64_t refreshed_ms;
	bool is_dirty; /* libslirp must be asked what to poll, before sleeping */
	const struct slirp_owner *owner;
	void *arg;
	/* answers to libslirp's own questions, for when it is not running */
	struct loop_deferred tell;
	uint8_t answers[MAX_ANSWERS][NEIGHBOR_ANSWER_SIZE];
	size_t answer_len[MAX_ANSWERS];
	unsigned int n_answers;
	struct amend_config amend;
	struct stack_config config;
	struct admitted admitted[ADMITTED_SLOTS];
	struct slirp_counters counters;
};

/* --- callbacks ----------------------------------------------------------- */

static void on_tell(void *arg)
{
	struct slirp_gateway *g = arg;
	unsigned int n = g->n_answers;

	g->n_answers = 0; /* no question comes of an answer, but packets do */
	for (unsigned int i = 0; i < n; i++)
		slirp_input(g->slirp, g->answers[i], (int)g->answer_len[i]);
	g->is_dirty = true;
}

/* Whether the frame was a question that we know the answer to. */
static bool answer(struct slirp_gateway *g, const uint8_t *frame, size_t len)
{
	struct ipaddr target;
	const struct mac *mac;

	if (!neighbor_is_question(frame, len, &target) || g->n_answers == MAX_ANSWERS)
		return false;
	mac = g->owner->resolve(g->arg, &target);
	if (!mac)
		return false;
	g->answer_len[g->n_answers] = neighbor_answer(frame, mac, g->answers[g->n_answers]);
	g->n_answers++;
	loop_defer(g->loop, &g->tell);
	return true;
}

static ssize_t on_send_packet(const void *buf, size_t len, void *opaque)
{
	static uint8_t copy[FRAME_MAX_SIZE + AMEND_ROOM];
	struct slirp_gateway *g = opaque;
	struct frame frame;

	if (len > FRAME_MAX_SIZE)
		return -1;
	if (answer(g, buf, len))
		return (ssize_t)len;
	memcpy(copy, buf, len);
	frame_init(&frame);
	frame_add(&frame, copy, amend_frame(copy, len, &g->amend));
	g->owner->output(g->arg, &frame);
	return (ssize_t)len;
}

static void on_guest_error(const char *msg, void *opaque)
{
	(void)opaque;
	log_limited(LOG_LEVEL_DEBUG, "libslirp: %s", msg);
}

static int64_t on_clock(void *opaque)
{
	struct slirp_gateway *g = opaque;

	return (int64_t)loop_now_ms(g->loop) * 1000000;
}

struct slirp_timer {
	struct slirp_gateway *gateway;
	struct timer *timer;
	SlirpTimerCb fn;
	void *arg;
};

static void on_slirp_timer(void *arg)
{
	struct slirp_timer *t = arg;

	t->fn(t->arg);
	t->gateway->is_dirty = true;
}

static void *on_timer_new(SlirpTimerCb fn, void *arg, void *opaque)
{
	struct slirp_gateway *g = opaque;
	struct slirp_timer *t = calloc(1, sizeof(*t));

	if (!t || timer_new(g->loop, on_slirp_timer, t, &t->timer) < 0)
		abort(); /* at start only; libslirp has no way to hear of it */
	t->gateway = g;
	t->fn = fn;
	t->arg = arg;
	return t;
}

static void on_timer_free(void *timer, void *opaque)
{
	struct slirp_timer *t = timer;

	(void)opaque;
	timer_free(t->timer);
	free(t);
}

static void on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct slirp_gateway *g = opaque;
	struct slirp_timer *t = timer;
	int64_t now = (int64_t)loop_now_ms(g->loop);

	timer_start(t->timer, expire_ms > now ? (uint64_t)(expire_ms - now) : 0);
}

static void forget(struct slirp_gateway *g, int fd)
{
	if (fd >= g->n_by_fd || !g->by_fd[fd])
		return;
	watch_free(g->by_fd[fd]->watch);
	free(g->by_fd[fd]);
	g->by_fd[fd] = NULL;
}

static void on_register_fd(int fd, void *opaque)
{
	struct slirp_gateway *g = opaque;

	(void)fd;
	g->counters.flows++;
}

/* Called before the descriptor is closed and its number used again. */
static void on_unregister_fd(int fd, void *opaque)
{
	struct slirp_gateway *g = opaque;

	if (g->counters.flows)
		g->counters.flows--;
	forget(g, fd);
}

static void on_notify(void *opaque)
{
	struct slirp_gateway *g = opaque;

	g->is_dirty = true;
}

static const SlirpCb callbacks = {
	.send_packet = on_send_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register_fd,
	.unregister_poll_fd = on_unregister_fd,
	.notify = on_notify,
};

/* --- polling ------------------------------------------------------------- */

static void on_ready(void *arg, unsigned int events)
{
	struct polled *p = arg;

	if (events & LOOP_READ)
		p->ready |= p->wanted & (SLIRP_POLL_IN | SLIRP_POLL_PRI);
	if (events & LOOP_WRITE)
		p->ready |= p->wanted & SLIRP_POLL_OUT;
	p->gateway->is_dirty = true;
}

static struct polled *polled_at(struct slirp_gateway *g, int fd)
{
	struct polled *p;

	if (fd >= g->n_by_fd) {
		int n = fd + 64;
		struct polled **by_fd = realloc(g->by_fd, (size_t)n * sizeof(struct polled *));

		if (!by_fd)
			return NULL;
		for (int i = g->n_by_fd; i < n; i++)
			by_fd[i] = NULL;
		g->by_fd = by_fd;
		g->n_by_fd = n;
	}
	if (g->by_fd[fd])
		return g->by_fd[fd];
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->gateway = g;
	p->fd = fd;
	if (watch_new(g->loop, fd, on_ready, p, &p->watch) < 0) {
		free(p);
		return NULL;
	}
	g->by_fd[fd] = p;
	return p;
}

/* The index that libslirp gets is the descriptor itself. */
static int on_add_poll(int fd, int events, void *opaque)
{
	struct slirp_gateway *g = opaque;
	struct polled *p = polled_at(g, fd);
	unsigned int wanted = 0;

	if (!p)
		return -1;
	if (events & (SLIRP_POLL_IN | SLIRP_POLL_PRI))
		wanted |= LOOP_READ;
	if (events & SLIRP_POLL_OUT)
		wanted |= LOOP_WRITE;
	p->wanted = events;
	p->round = g->round;
	watch_want(p->watch, wanted);
	return fd;
}

static int on_get_revents(int idx, void *opaque)
{
	struct slirp_gateway *g = opaque;
	int ready;

	if (idx < 0 || idx >= g->n_by_fd || !g->by_fd[idx])
		return 0;
	ready = g->by_fd[idx]->ready;
	g->by_fd[idx]->ready = 0;
	return ready;
}

/* libslirp's pair of calls around a sleep. */
static void refresh(struct slirp_gateway *g)
{
	uint32_t timeout_ms = UINT32_MAX;

	g->is_dirty = false;
	g->refreshed_ms = loop_now_ms(g->loop);
	slirp_pollfds_poll(g->slirp, 0, on_get_revents, g);
	g->round++;
	slirp_pollfds_fill(g->slirp, &timeout_ms, on_add_poll, g);
	for (int fd = 0; fd < g->n_by_fd; fd++) {
		struct polled *p = g->by_fd[fd];

		if (p && p->round != g->round)
			watch_want(p->watch, 0);
	}
	if (timeout_ms > EXPIRY_CHECK_MS && g->counters.flows)
		timeout_ms = EXPIRY_CHECK_MS; /* libslirp asks for none for UDP */
	if (timeout_ms != UINT32_MAX)
		timer_start(g->wakeup, timeout_ms);
}

/* Only when libslirp has something to say: TCP's fast path does not pay. */
static void before_sleep(void *arg)
{
	struct slirp_gateway *g = arg;

	if (g->is_dirty)
		refresh(g);
}

static void on_wakeup(void *arg)
{
	struct slirp_gateway *g = arg;

	g->is_dirty = true;
}

/* --- input --------------------------------------------------------------- */

static bool is_gateway_or_dns(const struct slirp_gateway *g, const struct ipaddr *a)
{
	return ipaddr_equal(a, &g->config.gateway4) || ipaddr_equal(a, &g->config.gateway6) ||
	       ipaddr_equal(a, &g->config.dns4) || ipaddr_equal(a, &g->config.dns6);
}

/* On the guests' own network the host stands in for nobody else. */
static bool is_in_the_world(const struct slirp_gateway *g, const struct ipaddr *a)
{
	return ipaddr_is_dialable(a) &&
	       !ipaddr_in_prefix(a, &g->config.network4, 96 + g->config.prefix4_bits) &&
	       !ipaddr_in_prefix(a, &g->config.prefix6, 64);
}

/* What libslirp takes for its DHCP server, which we do not use; the same ports
 * elsewhere are just ports. */
static bool is_dhcp(const struct slirp_gateway *g, const struct endpoint *dst)
{
	static const struct ipaddr broadcast = IPADDR_V4(255, 255, 255, 255);

	return dst->port == 67 && (ipaddr_equal(&dst->addr, &broadcast) ||
				   ipaddr_equal(&dst->addr, &g->config.gateway4));
}

/* The same of its DHCPv6 server. */
static bool is_dhcp6(const struct slirp_gateway *g, const struct endpoint *dst)
{
	static const struct ipaddr servers = { { 0xff, 2, [13] = 1, 0, 2 } };

	return dst->port == 547 && (ipaddr_equal(&dst->addr, &servers) ||
				    ipaddr_equal(&dst->addr, &g->config.gateway6));
}

static bool may_pass_udp(const struct slirp_gateway *g, const struct packet *p)
{
	if (is_dhcp(g, &p->dst) || is_dhcp6(g, &p->dst))
		return false;
	if (p->dst.port == 69) /* TFTP */
		return false;
	if (is_gateway_or_dns(g, &p->dst.addr))
		return g->config.host_loopback;
	return is_in_the_world(g, &p->dst.addr);
}

/* Echo requests, and of IPv6 what neighbour discovery needs, at full length. */
static bool may_pass_icmp(const struct slirp_gateway *g, const struct packet *p)
{
	size_t len = p->ip_len - p->ip_header_size;

	if (p->is_v4)
		return p->l4[0] == 8 &&
		       (is_gateway_or_dns(g, &p->dst.addr) || is_in_the_world(g, &p->dst.addr));
	switch (p->l4[0]) {
	case 128: /* echo request; libslirp answers for itself only */
		return len >= 8 && (ipaddr_equal(&p->dst.addr, &g->config.gateway6) ||
				    ipaddr_is_link_local(&p->dst.addr));
	case 133: /* router solicitation */
		return len >= 8;
	case 135: /* neighbour solicitation */
	case 136: /* neighbour advertisement */
		return len >= 24;
	default:
		return false;
	}
}

/* Whether this flow may have a socket: while there are few, every flow, later
 * only those that have one. */
static bool admit(struct slirp_gateway *g, const struct packet *p)
{
	struct {
		struct endpoint src;
		uint16_t protocol;
	} key;
	uint64_t now = loop_now_ms(g->loop);
	struct admitted *bucket, *slot;
	uint32_t tag;

	memset(&key, 0, sizeof(key));
	key.src.addr = p->src.addr;
	key.src.port = p->src.port;
	key.protocol = p->protocol;
	tag = hash_bytes(&key, sizeof(key));
	slot = bucket = &g->admitted[tag & (ADMITTED_SLOTS - 1) & ~(ADMITTED_WAYS - 1)];
	for (unsigned int i = 0; i < ADMITTED_WAYS; i++) {
		struct admitted *a = &bucket[i];

		if (a->tag == tag && a->used_ms && now - a->used_ms < FLOW_MS) {
			a->used_ms = now;
			return true;
		}
		if (a->used_ms < slot->used_ms)
			slot = a;
	}
	if (g->counters.flows >= MAX_FLOWS)
		return false;
	*slot = (struct admitted){ tag, now };
	return true;
}

static bool may_pass(struct slirp_gateway *g, const struct packet *p)
{
	bool may = p->kind == PACKET_ARP || (p->kind == PACKET_UDP && may_pass_udp(g, p)) ||
		   (p->kind == PACKET_ICMP && may_pass_icmp(g, p));

	if (!may) {
		g->counters.refused++;
		return false;
	}
	if (p->kind == PACKET_ARP || admit(g, p))
		return true;
	g->counters.too_many++;
	log_limited(LOG_LEVEL_WARN, "more than %u UDP and ping flows of guests: new ones wait",
		    MAX_FLOWS);
	return false;
}

void slirp_gateway_input(struct slirp_gateway *g, struct frame *frame, const struct packet *packet)
{
	static uint8_t flat[FRAME_MAX_SIZE];
	const uint8_t *bytes = frame->refs[0].iov_base;

	if (!may_pass(g, packet))
		return;
	/* libslirp reads the clock in these calls only: after a long silence a
	 * new flow would be born expired */
	if (loop_now_ms(g->loop) - g->refreshed_ms > MAX_CLOCK_LAG_MS)
		refresh(g);
	frame_finish_checksum(frame);
	if (frame->n_refs > 1) {
		frame_copy(frame, 0, flat, frame->len);
		bytes = flat;
	}
	slirp_input(g->slirp, bytes, (int)frame->len);
	g->is_dirty = true;
}

/* --- life ---------------------------------------------------------------- */

static struct in_addr to_in_addr(const struct ipaddr *a)
{
	struct in_addr in;

	memcpy(&in, ipaddr_v4_bytes(a), sizeof(in));
	return in;
}

static struct in6_addr to_in6_addr(const struct ipaddr *a)
{
	struct in6_addr in;

	memcpy(&in, a->b, sizeof(in));
	return in;
}

static void fill_config(SlirpConfig *c, const struct stack_config *config)
{
	memset(c, 0, sizeof(*c));
	c->version = 4;
	c->in_enabled = true;
	c->vnetwork = to_in_addr(&config->network4);
	c->vnetmask.s_addr = htonl(~0U << (32 - config->prefix4_bits));
	c->vhost = to_in_addr(&config->gateway4);
	c->vnameserver = to_in_addr(&config->dns4);
	c->in6_enabled = true;
	c->vprefix_addr6 = to_in6_addr(&config->prefix6);
	c->vprefix_len = 64;
	c->vhost6 = to_in6_addr(&config->gateway6);
	c->vnameserver6 = to_in6_addr(&config->dns6);
	c->if_mtu = SLIRP_MTU;
	c->if_mru = SLIRP_MTU;
	c->disable_host_loopback = !config->host_loopback;
	c->enable_emu = false; /* never: vulnerable by design */
	/* queries go to netstack/dns_relay.c; the resolver is announced here */
	c->disable_dns = false;
}

int slirp_gateway_new(struct loop *loop, const struct stack_config *config,
		      const struct slirp_owner *owner, void *arg, struct slirp_gateway **out)
{
	struct slirp_gateway *g = calloc(1, sizeof(*g));
	SlirpConfig slirp_config;
	int r = -ENOMEM;

	if (g)
		r = timer_new(loop, on_wakeup, g, &g->wakeup);
	if (r < 0) {
		free(g);
		return r;
	}
	g->loop = loop;
	g->owner = owner;
	loop_deferred_init(&g->tell, on_tell, g);
	g->arg = arg;
	g->config = *config;
	g->amend = (struct amend_config){ .mtu = config->mtu,
					  .is_managed = config->is_shared,
					  .dns6 = config->dns6,
					  .gateway4 = config->gateway4,
					  .gateway6 = config->gateway6 };
	fill_config(&slirp_config, config);
	g->slirp = slirp_new(&slirp_config, &callbacks, g);
	if (!g->slirp) {
		timer_free(g->wakeup);
		free(g);
		return -EINVAL;
	}
	g->hook = (struct loop_hook){ .fn = before_sleep, .arg = g };
	loop_add_hook(loop, &g->hook);
	*out = g;
	return 0;
}

void slirp_gateway_free(struct slirp_gateway *g)
{
	if (!g)
		return;
	slirp_cleanup(g->slirp);
	loop_cancel_deferred(&g->tell);
	for (int fd = 0; fd < g->n_by_fd; fd++)
		forget(g, fd);
	free(g->by_fd);
	loop_remove_hook(&g->hook);
	timer_free(g->wakeup);
	free(g);
}

const struct slirp_counters *slirp_gateway_counters(const struct slirp_gateway *g)
{
	return &g->counters;
}
