/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "forwarder/agent_drain.h"
#include "forwarder/agent_listeners.h"
#include "forwarder/rpc/call.h"
#include "forwarder/rpc/http2.h"
#include "forwarder/tunnel_grpc.h"
#include "forwarder/tunnel_vsock.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define KEEPALIVE_MS 15000U
#define PATIENCE_MS 10000U
#define DIAL_WAIT_MS 3000U
/* Waiting between tries doubles up to a time in which a restarted agent is found
 * within a second. */
#define BACKOFF_FIRST_MS 20U
#define BACKOFF_LAST_MS 640U
/* After a loss a dial waits, for a while. */
#define GRACE_MS 5000U
/* A call for events that has ended is made again. */
#define EVENTS_AGAIN_MS 1000U
/* How often the clocks are compared, and what they differ by after a suspend. */
#define CLOCKS_MS 5000U
#define SUSPEND_MS 2000
#define SUSPEND_PATIENCE_MS 2000U

struct agent_client {
	struct loop *loop;
	struct agent_client_config config;
	struct tunnel_grpc *tunnel;
	struct agent_listeners *listeners;
	struct agent_drain *drain; /* connections before http2 */
	struct port_range ephemeral;
	struct agent_client_counters counters;

	struct http2 *http2; /* NULL: no connection */
	bool is_up;	     /* hello was answered */
	enum flow_dialect dialect;
	struct call *hello, *events, *info;

	struct timer *again;  /* to connect, or of the answer to hello */
	struct timer *grace;  /* CONNECTING becomes DOWN */
	struct timer *resub;  /* the call for events */
	struct timer *clocks; /* BOOTTIME goes on during a suspend, MONOTONIC does not */
	int64_t suspended_ms;
	unsigned int backoff_ms;
	char error[128]; /* why there is no connection */
};

static void lose(struct agent_client *c, int error, const char *what);

/* --- what the guest listens on --- */

static void on_listener(void *arg, bool is_added, const struct rpc_listener *l)
{
	struct agent_client *c = arg;
	struct port_listener listener;

	memset(&listener, 0, sizeof(listener));
	listener.proto = l->is_udp ? FORWARD_UDP : FORWARD_TCP;
	listener.guest = l->guest;
	if (!is_added)
		agent_listeners_remove(c->listeners, &listener);
	else if (!agent_listeners_add(c->listeners, &listener))
		c->counters.listeners_refused++;
}

/* refused: what the parsing of the report gave. */
static void report_done(struct agent_client *c, int refused)
{
	const struct port_listener *all;
	unsigned int n;

	if (refused > 0) {
		c->counters.listeners_refused += (unsigned int)refused;
		log_limited(LOG_LEVEL_WARN, "agent: reports %d listeners that cannot be", refused);
	}
	if (!agent_listeners_end(c->listeners))
		return;
	all = agent_listeners_all(c->listeners, &n);
	if (n == AGENT_LISTENERS_MAX)
		log_limited(LOG_LEVEL_WARN, "agent: more than %u listeners; the rest is left out",
			    AGENT_LISTENERS_MAX);
	if (c->config.listeners)
		c->config.listeners(c->config.arg, all, n);
}

static void on_event(void *arg, const uint8_t *data, size_t len)
{
	struct agent_client *c = arg;
	struct message_sink sink = { on_listener, c };
	struct rpc_event event = { 0 };
	int refused;

	/* whether it is all is known only after parsing: removals of nothing are
	 * harmless, so it begins as a change */
	agent_listeners_begin(c->listeners, false);
	refused = c->dialect == FLOW_NETFWD ? message_parse_event(data, len, &event, &sink) :
					      message_parse_guest_event(data, len, &sink);
	if (refused < 0) {
		lose(c, refused, "an event that is none");
		return;
	}
	if (c->dialect == FLOW_NETFWD && event.is_all) {
		agent_listeners_set_all(c->listeners);
		c->ephemeral = (struct port_range){ event.ephemeral_first, event.ephemeral_last };
	}
	report_done(c, refused);
}

static void on_events_end(void *arg, int status, const char *text)
{
	struct agent_client *c = arg;

	log_limited(LOG_LEVEL_WARN, "agent: events ended with status %d (%s)", status, text);
	call_free(c->events);
	c->events = NULL;
	timer_start(c->resub, EVENTS_AGAIN_MS);
}

static void on_events_gone(void *arg, int error)
{
	struct agent_client *c = arg;

	call_free(c->events);
	c->events = NULL;
	if (error != -ECONNABORTED)
		timer_start(c->resub, EVENTS_AGAIN_MS);
}

static const struct call_ops events_ops = { on_event, on_events_end, on_events_gone };

/* GuestService's events do not begin with everything when the agent was asked
 * before: GetInfo is what there is. */
static void on_info(void *arg, const uint8_t *data, size_t len)
{
	struct agent_client *c = arg;
	struct message_sink sink = { on_listener, c };
	int refused;

	agent_listeners_begin(c->listeners, true);
	refused = message_parse_guest_info(data, len, &sink);
	if (refused < 0)
		lose(c, refused, "an answer that is none");
	else
		report_done(c, refused);
}

static void on_info_end(void *arg, int status, const char *text)
{
	struct agent_client *c = arg;

	if (status != GRPC_OK)
		log_limited(LOG_LEVEL_WARN, "agent: GetInfo: status %d (%s)", status, text);
	call_free(c->info);
	c->info = NULL;
}

static void on_info_gone(void *arg, int error)
{
	struct agent_client *c = arg;

	(void)error;
	call_free(c->info);
	c->info = NULL;
}

static const struct call_ops info_ops = { on_info, on_info_end, on_info_gone };

/* --- calls that the client makes --- */

static int ask(struct agent_client *c, const char *path, const struct call_ops *ops,
	       struct call **call)
{
	struct call_handler handler = { ops, c };
	struct message m;
	int r = message_empty(&m);

	if (r < 0)
		return r;
	r = call_new(c->http2, path, &handler, call);
	if (r < 0) {
		free(m.data);
		return r;
	}
	r = call_send(*call, &m);
	call_finish(*call, GRPC_OK, "");
	return r;
}

static void subscribe(void *arg)
{
	struct agent_client *c = arg;
	int r;

	if (!c->is_up || c->events)
		return;
	if (c->dialect == FLOW_NETFWD) {
		r = ask(c, "/netfwd.v1.Agent/Events", &events_ops, &c->events);
	} else {
		r = ask(c, "/GuestService/GetEvents", &events_ops, &c->events);
		if (r == 0 && !c->info)
			r = ask(c, "/GuestService/GetInfo", &info_ops, &c->info);
	}
	if (r < 0)
		lose(c, r, "no call for events");
}

/* --- the connection --- */

/* Each waits another time: many that lost the same agent do not come at once. */
static unsigned int jittered(unsigned int ms)
{
	uint8_t noise = 0;

	if (getrandom(&noise, sizeof(noise), GRND_NONBLOCK) < 0)
		noise = 128;
	return ms - ms * noise / 1024;
}

static void try_later(struct agent_client *c)
{
	timer_start(c->again, jittered(c->backoff_ms));
	if (c->backoff_ms < BACKOFF_LAST_MS)
		c->backoff_ms *= 2;
}

static void tell_down(struct agent_client *c, enum tunnel_state state)
{
	tunnel_grpc_down(c->tunnel, state, c->error);
	if (c->config.raw)
		c->config.raw(c->config.arg, NULL, state, c->error);
}

static void tell_up(struct agent_client *c, const struct rpc_hello *hello)
{
	const struct tunnel_vsock_link link = { hello->raw_port, hello->features, c->http2 };

	if (!c->config.raw)
		return;
	if ((hello->features & RPC_FEATURE_RAW) && hello->raw_port)
		c->config.raw(c->config.arg, &link, TUNNEL_UP, "");
	else
		c->config.raw(c->config.arg, NULL, TUNNEL_DOWN, "the agent takes no raw flows");
}

/* The first try is over, or the connection was lost. */
static void set_down(struct agent_client *c, bool was_up)
{
	struct tunnel *t = tunnel_grpc_base(c->tunnel);

	if (was_up) {
		timer_start(c->grace, GRACE_MS);
		tell_down(c, TUNNEL_CONNECTING);
	} else if (!timer_is_running(c->grace)) {
		if (t->state != TUNNEL_DOWN || strcmp(t->error, c->error) != 0)
			tell_down(c, TUNNEL_DOWN);
	}
}

static void on_grace(void *arg)
{
	struct agent_client *c = arg;

	if (!c->is_up)
		tell_down(c, TUNNEL_DOWN);
}

static void set_error(struct agent_client *c, const char *what, int error)
{
	if (!c->is_up && strcmp(c->error, "") != 0 && !log_is_on(LOG_LEVEL_DEBUG))
		return; /* the reason that came first */
	(void)snprintf(c->error, sizeof(c->error), "%s: %s", what,
		       error == -EPIPE ? "it was closed" : strerror(-error));
}

/* The calls are closed, and so gone from here. */
static void on_http2_closed(void *arg, int error)
{
	struct agent_client *c = arg;
	bool was_up = c->is_up;

	if (was_up) {
		c->counters.losses++;
		c->error[0] = '\0';
		c->backoff_ms = BACKOFF_FIRST_MS;
	}
	set_error(c, was_up ? "connection to the agent lost" : "cannot reach the agent", error);
	if (was_up)
		log_warn("agent: %s", c->error);
	c->is_up = false;
	http2_free(c->http2);
	c->http2 = NULL;
	timer_stop(c->resub);
	set_down(c, was_up);
	try_later(c);
}

static void on_request(void *arg, struct http2_stream *s, const char *path)
{
	(void)arg; /* only servers are called */
	(void)s;
	(void)path;
}

static void forget_calls(struct agent_client *c)
{
	call_free(c->hello);
	call_free(c->events);
	call_free(c->info);
	c->hello = c->events = c->info = NULL;
	timer_stop(c->resub);
}

/* An agent that is restarted in an orderly way, or a server that closes connections
 * of a certain age. */
static void on_leaving(void *arg)
{
	struct agent_client *c = arg;

	if (!c->is_up || agent_drain_take(c->drain, c->http2) < 0) {
		http2_fail(c->http2, -EPIPE);
		return;
	}
	log_info("agent: it closes this connection when it is not used any more");
	forget_calls(c);
	c->http2 = NULL;
	c->is_up = false;
	(void)snprintf(c->error, sizeof(c->error), "the agent has left the connection");
	set_down(c, true);
	timer_start(c->again, 0);
}

static const struct http2_owner http2_owner = { on_request, on_http2_closed, on_leaving };

static void lose(struct agent_client *c, int error, const char *what)
{
	set_error(c, what, error);
	log_limited(LOG_LEVEL_WARN, "agent: %s", what);
	if (c->http2)
		http2_fail(c->http2, error);
}

static void set_up(struct agent_client *c, const struct tunnel_grpc_link *link)
{
	timer_stop(c->again);
	timer_stop(c->grace);
	c->is_up = true;
	c->dialect = link->dialect;
	c->backoff_ms = BACKOFF_FIRST_MS;
	c->error[0] = '\0';
	c->counters.connects++;
	subscribe(c);
	tunnel_grpc_up(c->tunnel, link);
}

static void on_hello(void *arg, const uint8_t *data, size_t len)
{
	struct agent_client *c = arg;
	struct rpc_hello hello;

	if (c->is_up)
		return;
	if (message_parse_hello(data, len, &hello) < 0) {
		lose(c, -EPROTO, "the answer to hello is none");
		return;
	}
	log_info("agent: netfwd-agent %s, protocol %u", hello.version, hello.protocol);
	/* Without flows it is used as Lima's, which it is expected to be too. */
	set_up(c, &(struct tunnel_grpc_link){
			  .http2 = c->http2,
			  .dialect = (hello.features & RPC_FEATURE_FLOW) &&
						     (hello.features & RPC_FEATURE_EVENTS) ?
					     FLOW_NETFWD :
					     FLOW_GUEST_SERVICE,
			  .features = hello.features,
		  });
	tell_up(c, &hello);
}

static void on_hello_end(void *arg, int status, const char *text)
{
	struct agent_client *c = arg;

	call_free(c->hello);
	c->hello = NULL;
	if (c->is_up)
		return;
	if (status != GRPC_UNIMPLEMENTED) {
		log_limited(LOG_LEVEL_WARN, "agent: hello: status %d (%s)", status, text);
		lose(c, -EPROTO, "hello was refused");
		return;
	}
	log_info("agent: speaks GuestService only");
	set_up(c, &(struct tunnel_grpc_link){ .http2 = c->http2, .dialect = FLOW_GUEST_SERVICE });
	tell_up(c, &(struct rpc_hello){ 0 });
}

static void on_hello_gone(void *arg, int error)
{
	struct agent_client *c = arg;

	call_free(c->hello);
	c->hello = NULL;
	if (!c->is_up && error != -ECONNABORTED)
		lose(c, error, "hello was not answered");
}

static const struct call_ops hello_ops = { on_hello, on_hello_end, on_hello_gone };

static int say_hello(struct agent_client *c)
{
	struct rpc_hello hello = { .protocol = RPC_PROTOCOL, .version = NETFWD_VERSION };
	struct call_handler handler = { &hello_ops, c };
	struct message m;
	int r = message_hello(&hello, &m);

	if (r < 0)
		return r;
	r = call_new(c->http2, "/netfwd.v1.Agent/Hello", &handler, &c->hello);
	if (r < 0) {
		free(m.data);
		return r;
	}
	r = call_send(c->hello, &m);
	call_finish(c->hello, GRPC_OK, "");
	return r;
}

static int start(struct agent_client *c)
{
	struct http2_config config = {
		.keepalive_ms = c->config.keepalive_ms,
		.patience_ms = c->config.patience_ms,
	};
	struct stream *stream;
	int r = c->config.connect(c->config.arg, &stream);

	if (r == 0)
		r = http2_new(c->loop, &config, stream, &c->http2);
	if (r < 0) {
		c->http2 = NULL;
		return r;
	}
	http2_set_owner(c->http2, &http2_owner, c);
	return say_hello(c);
}

static void on_again(void *arg)
{
	struct agent_client *c = arg;
	int r;

	if (c->http2) {
		lose(c, -ETIMEDOUT, "hello was not answered");
		return;
	}
	r = start(c);
	if (r == 0) {
		timer_start(c->again, c->config.patience_ms);
		return;
	}
	set_error(c, "cannot connect to the agent", r);
	if (c->http2) {
		http2_fail(c->http2, r);
		return;
	}
	set_down(c, false);
	try_later(c);
}

/* --- suspend --- */

static int64_t suspended_ms(void)
{
	struct timespec boot, mono;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	return (boot.tv_sec - mono.tv_sec) * 1000LL + (boot.tv_nsec - mono.tv_nsec) / 1000000;
}

/* Whatever was at the other end may be gone without a word. */
static void on_clocks(void *arg)
{
	struct agent_client *c = arg;
	int64_t now = suspended_ms();

	if (now - c->suspended_ms >= SUSPEND_MS) {
		log_info("agent: this machine was suspended; asking for a sign of life");
		if (c->is_up)
			http2_probe(c->http2, SUSPEND_PATIENCE_MS);
	}
	c->suspended_ms = now;
	timer_start(c->clocks, CLOCKS_MS);
}

/* --- life --- */

static unsigned int or_default(unsigned int value, unsigned int standard)
{
	return value ? value : standard;
}

static int create_parts(struct agent_client *c)
{
	struct tunnel_grpc_config config = {
		.dial_wait_ms = c->config.dial_wait_ms,
		.datagrams_dropped = &c->counters.datagrams_dropped,
	};
	int r = tunnel_grpc_new(c->loop, &config, &c->tunnel);

	if (r == 0)
		r = agent_listeners_new(&c->listeners);
	if (r == 0)
		r = agent_drain_new(&c->drain);
	if (r == 0)
		r = timer_new(c->loop, on_again, c, &c->again);
	if (r == 0)
		r = timer_new(c->loop, on_grace, c, &c->grace);
	if (r == 0)
		r = timer_new(c->loop, subscribe, c, &c->resub);
	if (r == 0)
		r = timer_new(c->loop, on_clocks, c, &c->clocks);
	return r;
}

int agent_client_new(struct loop *loop, const struct agent_client_config *config,
		     struct agent_client **out)
{
	struct agent_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->config = *config;
	c->config.keepalive_ms = or_default(config->keepalive_ms, KEEPALIVE_MS);
	c->config.patience_ms = or_default(config->patience_ms, PATIENCE_MS);
	c->config.dial_wait_ms = or_default(config->dial_wait_ms, DIAL_WAIT_MS);
	c->backoff_ms = BACKOFF_FIRST_MS;
	c->suspended_ms = suspended_ms();
	r = create_parts(c);
	if (r < 0) {
		agent_client_free(c);
		return r;
	}
	timer_start(c->again, 0);
	timer_start(c->grace, GRACE_MS); /* an agent that starts with us may take a moment */
	timer_start(c->clocks, CLOCKS_MS);
	*out = c;
	return 0;
}

void agent_client_free(struct agent_client *c)
{
	if (!c)
		return;
	http2_free(c->http2);
	agent_drain_free(c->drain);
	timer_free(c->again);
	timer_free(c->grace);
	timer_free(c->resub);
	timer_free(c->clocks);
	agent_listeners_free(c->listeners);
	tunnel_grpc_free(c->tunnel);
	free(c);
}

struct tunnel *agent_client_tunnel(struct agent_client *c)
{
	return tunnel_grpc_base(c->tunnel);
}

struct port_range agent_client_ephemeral(const struct agent_client *c)
{
	return c->ephemeral;
}

const struct agent_client_counters *agent_client_counters(const struct agent_client *c)
{
	return &c->counters;
}
