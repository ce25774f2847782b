/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "forwarder/agent_client.h"
#include "forwarder/shell_watch.h"
#include "forwarder/tunnel_vsock.h"
#include "netstack/base/log.h"

/* As long as the agent's client lets a dial wait. */
#define RAW_DIAL_WAIT_MS 3000U

struct agent_link {
	struct agent_transport *transport;
	struct agent_client *client;
	struct tunnel_vsock *raw; /* NULL: the guest has no vsock */
	uint64_t raw_dropped;
	struct shell_watch *shell; /* in place of an agent that cannot be brought; or NULL */
	struct loop *loop;
	struct agent_link_setup setup;
};

static int on_connect(void *arg, struct stream **out)
{
	struct agent_link *link = arg;

	return agent_transport_connect(link->transport, out);
}

static void on_listeners(void *arg, const struct port_listener *all, unsigned int n)
{
	struct agent_link *link = arg;

	shell_watch_free(link->shell);
	link->shell = NULL;
	if (link->setup.listeners)
		link->setup.listeners(link->setup.arg, all, n);
}

static void on_unusable(void *arg)
{
	struct agent_link *link = arg;
	const struct shell_watch_setup setup = {
		.run = link->setup.transport.run,
		.run_arg = link->setup.transport.run_arg,
		.changed = link->setup.listeners,
		.arg = link->setup.arg,
	};

	if (link->shell || !link->setup.listeners)
		return;
	if (shell_watch_new(link->loop, &setup, &link->shell) < 0)
		log_limited(LOG_LEVEL_ERROR, "no memory to follow the guest's ports");
	else
		log_info("the guest's TCP ports are asked of its shell, every second");
}

static void on_raw(void *arg, const struct tunnel_vsock_link *raw, enum tunnel_state state,
		   const char *error)
{
	struct agent_link *link = arg;

	if (!link->raw)
		return;
	if (raw)
		tunnel_vsock_up(link->raw, raw);
	else
		tunnel_vsock_down(link->raw, state, error);
}

static int open_raw(struct agent_link *link, struct loop *loop, struct vsock *vsock)
{
	const struct tunnel_vsock_config config = {
		.vsock = vsock,
		.dial_wait_ms = RAW_DIAL_WAIT_MS,
		.datagrams_dropped = &link->raw_dropped,
	};

	return vsock ? tunnel_vsock_new(loop, &config, &link->raw) : 0;
}

int agent_link_new(struct loop *loop, const struct agent_link_setup *setup, struct agent_link **out)
{
	struct agent_link *link = calloc(1, sizeof(*link));
	const struct agent_client_config client = {
		.connect = on_connect,
		.listeners = on_listeners,
		.raw = on_raw,
		.arg = link,
	};
	int r;

	if (!link) {
		log_error("no memory for the agent");
		return -ENOMEM;
	}
	link->loop = loop;
	link->setup = *setup;
	link->setup.transport.unusable = on_unusable;
	link->setup.transport.unusable_arg = link;
	r = agent_transport_new(loop, &link->setup.transport, &link->transport);
	if (r == 0) {
		r = open_raw(link, loop, setup->transport.vsock);
		if (r == 0)
			r = agent_client_new(loop, &client, &link->client);
		if (r < 0)
			log_error("no memory for the agent");
	}
	if (r < 0) {
		agent_link_free(link);
		return r;
	}
	log_info("the agent is looked for on %s", agent_transport_name(link->transport));
	*out = link;
	return 0;
}

static void log_counters(const struct agent_link *link)
{
	const struct agent_client_counters *c = agent_client_counters(link->client);

	log_info("counter agent-connects: %" PRIu64, c->connects);
	log_info("counter agent-losses: %" PRIu64, c->losses);
	log_info("counter agent-listeners-refused: %" PRIu64, c->listeners_refused);
	log_info("counter agent-datagrams-dropped: %" PRIu64, c->datagrams_dropped);
	if (link->raw)
		log_info("counter agent-raw-datagrams-dropped: %" PRIu64, link->raw_dropped);
}

void agent_link_free(struct agent_link *link)
{
	if (!link)
		return;
	if (link->client)
		log_counters(link);
	shell_watch_free(link->shell);
	agent_client_free(link->client);
	tunnel_vsock_free(link->raw);
	agent_transport_free(link->transport);
	free(link);
}

struct port_range agent_link_ephemeral(const struct agent_link *link)
{
	return agent_client_ephemeral(link->client);
}

struct tunnel *agent_link_tunnel(struct agent_link *link)
{
	return agent_client_tunnel(link->client);
}

struct tunnel *agent_link_raw_tunnel(struct agent_link *link)
{
	return link->raw ? tunnel_vsock_base(link->raw) : NULL;
}
