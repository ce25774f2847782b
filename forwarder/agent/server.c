/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/agent/answers.h"
#include "forwarder/agent/flows.h"
#include "forwarder/agent/listens.h"
#include "forwarder/agent/raw_flows.h"
#include "forwarder/agent/reports.h"
#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define MAX_CONNECTIONS 16U
#define MAX_FLOWS 16384U
#define CALLS_BESIDE_FLOWS 64U
/* A host that has vanished holds flows: as patient as the host's own keepalive. */
#define KEEPALIVE_MS 60000U
#define PATIENCE_MS 30000U

struct agent_server {
	struct loop *loop;
	unsigned int max_connections, max_flows;
	bool guest_service_only;
	struct list connections; /* connection.node, the oldest first */
	unsigned int n_connections;
	struct flows *flows;
	struct raw_flows *raw_flows;
	struct listens *listens;
	struct reports *reports;
	struct answers *answers;
	struct agent_server_counters counters;
};

struct connection {
	struct list node; /* agent_server.connections */
	struct agent_server *server;
	struct http2 *http2;
};

typedef void serve_fn(struct agent_server *server, struct http2_stream *s);

static void serve_hello(struct agent_server *server, struct http2_stream *s)
{
	answers_request(server->answers, s, ANSWER_HELLO);
}

static void serve_events(struct agent_server *server, struct http2_stream *s)
{
	reports_subscribe(server->reports, s, FLOW_NETFWD);
}

static void serve_flow(struct agent_server *server, struct http2_stream *s)
{
	flows_request(server->flows, s, FLOW_NETFWD);
}

static void serve_listen(struct agent_server *server, struct http2_stream *s)
{
	listens_request(server->listens, s);
}

static void serve_guest_info(struct agent_server *server, struct http2_stream *s)
{
	answers_request(server->answers, s, ANSWER_INFO);
}

static void serve_guest_events(struct agent_server *server, struct http2_stream *s)
{
	reports_subscribe(server->reports, s, FLOW_GUEST_SERVICE);
}

static void serve_guest_tunnel(struct agent_server *server, struct http2_stream *s)
{
	flows_request(server->flows, s, FLOW_GUEST_SERVICE);
}

static void serve_guest_time(struct agent_server *server, struct http2_stream *s)
{
	answers_request(server->answers, s, ANSWER_TIME);
}

static const struct method {
	const char *path;
	serve_fn *serve;
	bool is_guest_service;
} methods[] = {
	{ FLOW_PATH_NETFWD, serve_flow, false },
	{ "/netfwd.v1.Agent/Hello", serve_hello, false },
	{ "/netfwd.v1.Agent/Events", serve_events, false },
	{ "/netfwd.v1.Agent/Listen", serve_listen, false },
	{ FLOW_PATH_GUEST_SERVICE, serve_guest_tunnel, true },
	{ "/GuestService/GetInfo", serve_guest_info, true },
	{ "/GuestService/GetEvents", serve_guest_events, true },
	{ "/GuestService/SyncTime", serve_guest_time, true },
};

static const struct method *find_method(const struct agent_server *server, const char *path)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (strcmp(methods[i].path, path) == 0 &&
		    (methods[i].is_guest_service || !server->guest_service_only))
			return &methods[i];
	}
	return NULL;
}

static void on_request(void *arg, struct http2_stream *s, const char *path)
{
	struct connection *c = arg;
	const struct method *method = find_method(c->server, path);

	if (method) {
		method->serve(c->server, s);
		return;
	}
	log_limited(LOG_LEVEL_DEBUG, "host: no such method: %s", path);
	http2_stream_refuse(s, GRPC_UNIMPLEMENTED, "no such method");
}

static void disconnect(struct connection *c)
{
	list_unlink(&c->node);
	c->server->n_connections--;
	http2_free(c->http2);
	free(c);
}

static void on_closed(void *arg, int error)
{
	struct connection *c = arg;

	if (error != -EPIPE) {
		c->server->counters.connections_lost++;
		log_limited(LOG_LEVEL_WARN, "the host's connection is lost: %s", strerror(-error));
	} else {
		log_debug("the host has closed its connection");
	}
	disconnect(c);
}

static const struct http2_owner http2_owner = { .request = on_request, .closed = on_closed };

void agent_server_accept(struct agent_server *server, struct stream *host)
{
	struct http2_config config = {
		.is_server = true,
		.max_streams = server->max_flows + CALLS_BESIDE_FLOWS,
		.keepalive_ms = KEEPALIVE_MS,
		.patience_ms = PATIENCE_MS,
	};
	struct connection *c = calloc(1, sizeof(*c));

	server->counters.connections++;
	if (!c) {
		host->ops->reset(host);
		return;
	}
	if (http2_new(server->loop, &config, host, &c->http2) < 0) {
		log_limited(LOG_LEVEL_WARN, "out of memory for a connection of the host");
		free(c);
		return;
	}
	http2_set_owner(c->http2, &http2_owner, c);
	c->server = server;
	list_append(&server->connections, &c->node);
	if (++server->n_connections > server->max_connections) {
		server->counters.connections_replaced++;
		disconnect(container_of(server->connections.next, struct connection, node));
	}
}

void agent_server_accept_raw(struct agent_server *server, struct stream *host)
{
	raw_flows_accept(server->raw_flows, host);
}

void agent_server_set_raw_port(struct agent_server *server, uint32_t port)
{
	answers_set_raw_port(server->answers, port);
}

void agent_server_set_listeners(struct agent_server *server, const struct port_listener *all,
				unsigned int n)
{
	reports_set(server->reports, all, n);
}

void agent_server_set_ephemeral(struct agent_server *server, struct port_range range)
{
	reports_set_ephemeral(server->reports, range);
}

const struct agent_server_counters *agent_server_counters(const struct agent_server *server)
{
	return &server->counters;
}

unsigned int agent_server_n_connections(const struct agent_server *server)
{
	return server->n_connections;
}

static int take_accepted(void *arg, uint64_t id)
{
	struct agent_server *server = arg;

	return listens_take(server->listens, id);
}

static struct guest_client *find_client(void *arg, uint64_t id)
{
	struct agent_server *server = arg;

	return listens_client(server->listens, id);
}

static int create_parts(struct agent_server *server)
{
	struct flows_config flows = {
		.max = server->max_flows,
		.counters = &server->counters,
		.take_accepted = take_accepted,
		.find_client = find_client,
		.arg = server,
	};
	int r = flows_new(server->loop, &flows, &server->flows);

	if (r == 0)
		r = raw_flows_new(server->loop, &flows, &server->raw_flows);
	if (r == 0)
		r = listens_new(server->loop, &server->listens);
	if (r == 0)
		r = reports_new(&server->reports);
	if (r == 0)
		r = answers_new(server->reports, &server->answers);
	return r;
}

int agent_server_new(struct loop *loop, const struct agent_server_config *config,
		     struct agent_server **out)
{
	struct agent_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->max_connections =
		config->max_connections ? config->max_connections : MAX_CONNECTIONS;
	server->max_flows = config->max_flows ? config->max_flows : MAX_FLOWS;
	server->guest_service_only = config->guest_service_only;
	list_init(&server->connections);
	r = create_parts(server);
	if (r < 0) {
		agent_server_free(server);
		return r;
	}
	*out = server;
	return 0;
}

void agent_server_free(struct agent_server *server)
{
	if (!server)
		return;
	list_for_each(node, &server->connections)
		disconnect(container_of(node, struct connection, node));
	answers_free(server->answers);
	listens_free(server->listens);
	flows_free(server->flows);
	raw_flows_free(server->raw_flows);
	reports_free(server->reports);
	free(server);
}
