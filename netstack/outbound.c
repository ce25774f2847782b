/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/outbound.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/lwip/engine.h"
#include "netstack/relay.h"
#include "netstack/stream_fd.h"

#define BUCKETS 1024U /* a power of 2 */
#define MAX_HALF_OPEN 1024U
#define ACCEPT_TIMEOUT_MS 25000U /* longer than lwIP waits for the guest's ACK */
#define SWEEP_MS 1000U

enum flow_state {
	FLOW_CONNECTING, /* fd, watch and syn are set */
	FLOW_ACCEPTING,	 /* fd is set, or it is served here */
	FLOW_OPEN,	 /* relay is set */
};

struct flow {
	struct list node;   /* outbound.half_open (oldest first) or outbound.open */
	struct list by_key; /* outbound.buckets, while half open */
	struct outbound *outbound;
	enum flow_state state;
	struct endpoint guest, dst;
	int fd; /* -1: served here */
	struct watch *watch;
	struct relay *relay;
	uint64_t since_ms;
	size_t syn_len;
	uint8_t syn[FRAME_MAX_HEADERS]; /* the guest's first frame, fed later */
};

struct outbound {
	struct loop *loop;
	struct engine *engine;
	struct outbound_config config;
	struct list half_open, open; /* flow.node */
	struct list buckets[BUCKETS];
	struct timer *sweep;
	struct outbound_counters counters;
};

static struct list *bucket(struct outbound *o, const struct endpoint *guest,
			   const struct endpoint *dst)
{
	struct {
		struct ipaddr addrs[2];
		uint16_t ports[2];
	} key = { { guest->addr, dst->addr }, { guest->port, dst->port } };

	return &o->buckets[hash_bytes(&key, sizeof(key)) & (BUCKETS - 1)];
}

static struct flow *find_half_open(struct outbound *o, const struct endpoint *guest,
				   const struct endpoint *dst)
{
	struct list *b = bucket(o, guest, dst);

	list_for_each(node, b) {
		struct flow *f = container_of(node, struct flow, by_key);

		if (endpoint_equal(&f->guest, guest) && endpoint_equal(&f->dst, dst))
			return f;
	}
	return NULL;
}

static void leave_half_open(struct flow *f)
{
	list_unlink(&f->by_key);
	list_unlink(&f->node);
	f->outbound->counters.half_open--;
}

/* Half open only: an open flow ends through its relay. */
static void drop_half_open(struct flow *f)
{
	if (f->state == FLOW_ACCEPTING)
		engine_forget(f->outbound->engine, &f->guest, &f->dst);
	leave_half_open(f);
	watch_free(f->watch);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

/* The frame that opened the flow, as it came. */
static void replay_syn(struct flow *f, struct frame *frame, struct packet *packet)
{
	enum packet_error error;

	frame_init(frame);
	frame_add(frame, f->syn, f->syn_len);
	error = packet_parse(frame, packet);
	assert(error == PACKET_OK); /* it was, before */
}

static void refuse(struct flow *f)
{
	struct frame frame;
	struct packet packet;

	f->outbound->counters.refused++;
	replay_syn(f, &frame, &packet);
	engine_refuse(f->outbound->engine, &packet);
	drop_half_open(f);
}

/* The host's connection attempt has come to an end. */
static void host_answered(struct flow *f, int error)
{
	struct outbound *o = f->outbound;
	char text[ADDR_TEXT_SIZE];
	struct frame frame;
	struct packet packet;

	watch_free(f->watch);
	f->watch = NULL;
	if (error) {
		log_debug("guest's connection to %s: %s", endpoint_format(&f->dst, text),
			  strerror(error));
		if (error == ETIMEDOUT)
			drop_half_open(f); /* silence is passed on as silence */
		else
			refuse(f);
		return;
	}
	f->state = FLOW_ACCEPTING;
	f->since_ms = loop_now_ms(o->loop);
	replay_syn(f, &frame, &packet);
	engine_input(o->engine, &frame, &packet);
}

static void on_connected(void *arg, unsigned int events)
{
	struct flow *f = arg;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)events;
	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	host_answered(f, error);
}

static int open_socket(const struct endpoint *to, struct sockaddr_storage *sa, socklen_t *len)
{
	int one = 1, fd;

	*len = endpoint_to_sockaddr(to, sa);
	fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void start_connect(struct flow *f)
{
	struct outbound *o = f->outbound;
	struct endpoint host;
	struct sockaddr_storage sa;
	socklen_t len;
	int r = o->config.translate(o->config.arg, &f->dst, &host);

	if (r < 0) {
		refuse(f);
		return;
	}
	if (r > 0) {
		host_answered(f, 0);
		return;
	}
	f->fd = open_socket(&host, &sa, &len);
	if (f->fd < 0) {
		log_limited(LOG_LEVEL_WARN, "no socket for a guest's connection: %s",
			    strerror(errno));
		refuse(f);
		return;
	}
	if (connect(f->fd, (struct sockaddr *)&sa, len) == 0) {
		host_answered(f, 0);
		return;
	}
	if (errno != EINPROGRESS) {
		host_answered(f, errno);
		return;
	}
	if (watch_new(o->loop, f->fd, on_connected, f, &f->watch) < 0) {
		refuse(f);
		return;
	}
	watch_want(f->watch, LOOP_WRITE);
}

static void on_sweep(void *arg)
{
	struct outbound *o = arg;
	uint64_t now = loop_now_ms(o->loop);

	list_for_each(node, &o->half_open) {
		struct flow *f = container_of(node, struct flow, node);

		if (f->state == FLOW_ACCEPTING && now - f->since_ms > ACCEPT_TIMEOUT_MS) {
			o->counters.expired++;
			drop_half_open(f);
		}
	}
	if (!list_empty(&o->half_open))
		timer_start(o->sweep, SWEEP_MS);
}

static void make_room(struct outbound *o)
{
	if (o->counters.half_open < MAX_HALF_OPEN)
		return;
	o->counters.evicted++;
	log_limited(LOG_LEVEL_WARN,
		    "guests have more than %u half-open connections: "
		    "the oldest give way",
		    MAX_HALF_OPEN);
	drop_half_open(container_of(o->half_open.next, struct flow, node));
}

void outbound_syn(struct outbound *o, const struct frame *frame, const struct packet *packet)
{
	struct flow *f = find_half_open(o, &packet->src, &packet->dst);

	if (f && f->state == FLOW_CONNECTING)
		return; /* the guest repeats itself; the host is still at it */
	if (f)		/* the engine has given the guest up: begin again */
		drop_half_open(f);
	make_room(o);
	if (frame->len > FRAME_MAX_HEADERS)
		return; /* data on a SYN beyond reason */
	f = calloc(1, sizeof(*f));
	if (!f)
		return;
	f->outbound = o;
	f->fd = -1;
	f->guest = packet->src;
	f->dst = packet->dst;
	f->since_ms = loop_now_ms(o->loop);
	f->syn_len = frame_copy(frame, 0, f->syn, sizeof(f->syn));
	list_append(&o->half_open, &f->node);
	list_append(bucket(o, &f->guest, &f->dst), &f->by_key);
	o->counters.half_open++;
	if (!timer_is_running(o->sweep))
		timer_start(o->sweep, SWEEP_MS);
	start_connect(f);
}

static void on_relay_done(void *arg, const struct relay_result *result)
{
	struct flow *f = arg;
	char guest[ADDR_TEXT_SIZE], dst[ADDR_TEXT_SIZE];

	log_debug("guest %s to %s ended: %llu bytes out, %llu in%s%s",
		  endpoint_format(&f->guest, guest), endpoint_format(&f->dst, dst),
		  (unsigned long long)result->a_to_b_bytes,
		  (unsigned long long)result->b_to_a_bytes, result->error ? ", " : "",
		  result->error ? strerror(-result->error) : "");
	list_unlink(&f->node);
	f->outbound->counters.open--;
	free(f);
}

void outbound_accepted(struct outbound *o, const struct endpoint *guest, const struct endpoint *dst,
		       struct stream *stream)
{
	struct flow *f = find_half_open(o, guest, dst);
	struct stream *host;
	int r;

	if (!f || f->state != FLOW_ACCEPTING) {
		stream->ops->reset(stream);
		return;
	}
	leave_half_open(f);
	if (f->fd < 0) {
		free(f);
		o->config.serve(o->config.arg, dst, stream);
		return;
	}
	r = stream_fd_new(o->loop, f->fd, false, &host);
	f->fd = -1; /* consumed */
	if (r == 0)
		r = relay_new(o->loop, (struct stream *[]){ stream, host }, on_relay_done, f,
			      &f->relay);
	else
		stream->ops->reset(stream);
	if (r < 0) {
		free(f);
		return;
	}
	f->state = FLOW_OPEN;
	list_append(&o->open, &f->node);
	o->counters.open++;
}

const struct outbound_counters *outbound_counters(const struct outbound *o)
{
	return &o->counters;
}

int outbound_new(struct loop *loop, struct engine *engine, const struct outbound_config *config,
		 struct outbound **out)
{
	struct outbound *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	if (o)
		r = timer_new(loop, on_sweep, o, &o->sweep);
	if (r < 0) {
		free(o);
		return r;
	}
	o->loop = loop;
	o->engine = engine;
	o->config = *config;
	list_init(&o->half_open);
	list_init(&o->open);
	for (unsigned int i = 0; i < BUCKETS; i++)
		list_init(&o->buckets[i]);
	*out = o;
	return 0;
}

void outbound_free(struct outbound *o)
{
	if (!o)
		return;
	while (!list_empty(&o->half_open))
		drop_half_open(container_of(o->half_open.next, struct flow, node));
	while (!list_empty(&o->open)) {
		struct flow *f = container_of(o->open.next, struct flow, node);

		relay_free(f->relay);
		list_unlink(&f->node);
		free(f);
	}
	timer_free(o->sweep);
	free(o);
}
