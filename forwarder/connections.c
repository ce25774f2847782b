/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/connections.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/log.h"
#include "netstack/relay.h"
#include "netstack/stream.h"

struct connection {
	struct list node; /* connections.all */
	struct connections *owner;
	struct endpoint from;
	struct relay *relay;
};

void connections_init(struct connections *c, struct loop *loop, const char *name)
{
	*c = (struct connections){ .loop = loop, .name = name };
	list_init(&c->all);
}

static void connection_free(struct connection *connection)
{
	list_unlink(&connection->node);
	connection->owner->n--;
	relay_free(connection->relay);
	free(connection);
}

void connections_reset(struct connections *c)
{
	list_for_each(node, &c->all)
		connection_free(container_of(node, struct connection, node));
}

struct connection_counters connections_count(const struct connections *c)
{
	struct connection_counters n = c->counters;

	list_for_each(node, &c->all) {
		const struct relay *relay = container_of(node, struct connection, node)->relay;

		n.to_server_bytes += relay_bytes(relay, RELAY_A_TO_B);
		n.to_client_bytes += relay_bytes(relay, RELAY_B_TO_A);
	}
	return n;
}

static void count_end(struct connection_counters *n, const struct relay_result *result)
{
	n->to_server_bytes += result->a_to_b_bytes;
	n->to_client_bytes += result->b_to_a_bytes;
	if (result->end == RELAY_END_CLOSED)
		n->closed++;
	else if (result->end == RELAY_END_B_BROKE && result->error == -ECONNREFUSED)
		n->refused++;
	else
		n->broken++;
}

static const char *end_text(const struct relay_result *result)
{
	switch (result->end) {
	case RELAY_END_CLOSED:
		return "closed";
	case RELAY_END_A_BROKE:
		return "broken by the client";
	case RELAY_END_B_BROKE:
		return "broken by the server";
	}
	return "";
}

static void on_done(void *arg, const struct relay_result *result)
{
	struct connection *connection = arg;
	struct connections *c = connection->owner;
	char from[ADDR_TEXT_SIZE];

	count_end(&c->counters, result);
	log_debug("tcp %s: connection of %s %s%s%s; %" PRIu64 " bytes to the server, %" PRIu64
		  " back",
		  c->name, endpoint_format(&connection->from, from), end_text(result),
		  result->error ? ": " : "", result->error ? strerror(-result->error) : "",
		  result->a_to_b_bytes, result->b_to_a_bytes);
	connection->relay = NULL; /* gone by itself */
	connection_free(connection);
	if (c->drained && c->n == 0)
		c->drained(c->arg);
}

int connections_join(struct connections *c, struct stream *client, struct stream *server,
		     const struct endpoint *from)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct stream *ends[2] = { client, server };
	int r;

	if (!connection) {
		client->ops->reset(client);
		server->ops->reset(server);
		return -ENOMEM;
	}
	r = relay_new(c->loop, ends, on_done, connection, &connection->relay);
	if (r < 0) {
		free(connection);
		return r;
	}
	connection->owner = c;
	connection->from = *from;
	list_append(&c->all, &connection->node);
	c->n++;
	return 0;
}
