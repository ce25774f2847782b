/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_drain.h"

#include <errno.h>
#include <stdlib.h>

#include "forwarder/rpc/http2.h"
#include "netstack/base/list.h"
#include "netstack/base/log.h"

struct agent_drain {
	struct list all; /* leaving.node, the oldest first */
	unsigned int n;
};

struct leaving {
	struct list node; /* agent_drain.all */
	struct agent_drain *owner;
	struct http2 *http2;
};

static void leaving_free(struct leaving *l)
{
	list_unlink(&l->node);
	l->owner->n--;
	http2_free(l->http2);
	free(l);
}

static void on_request(void *arg, struct http2_stream *s, const char *path)
{
	(void)arg; /* only servers are called */
	(void)s;
	(void)path;
}

static void on_closed(void *arg, int error)
{
	(void)error;
	log_debug("agent: a connection that it had left is closed");
	leaving_free(arg);
}

static const struct http2_owner owner = { .request = on_request, .closed = on_closed };

int agent_drain_take(struct agent_drain *drain, struct http2 *http2)
{
	struct leaving *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	if (drain->n == AGENT_DRAIN_MAX) {
		struct leaving *oldest = container_of(drain->all.next, struct leaving, node);

		log_limited(LOG_LEVEL_WARN, "agent: it goes away too often: what it still "
					    "carried by an old connection is reset");
		leaving_free(oldest);
	}
	l->owner = drain;
	l->http2 = http2;
	list_append(&drain->all, &l->node);
	drain->n++;
	http2_set_owner(http2, &owner, l);
	return 0;
}

int agent_drain_new(struct agent_drain **out)
{
	struct agent_drain *drain = calloc(1, sizeof(*drain));

	if (!drain)
		return -ENOMEM;
	list_init(&drain->all);
	*out = drain;
	return 0;
}

void agent_drain_free(struct agent_drain *drain)
{
	if (!drain)
		return;
	list_for_each(node, &drain->all)
		leaving_free(container_of(node, struct leaving, node));
	free(drain);
}
