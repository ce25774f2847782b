/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/ways.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "forwarder/way_dial.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"

#define N_KINDS (RULE_VIA_NONE + 1)

/* Of `auto`, the fastest first. */
static const enum rule_via by_speed[] = { RULE_VIA_NETNS, RULE_VIA_DIRECT, RULE_VIA_VSOCK,
					  RULE_VIA_GRPC, RULE_VIA_SSH };
#define N_WAYS (sizeof(by_speed) / sizeof(by_speed[0]))
static_assert(N_WAYS <= WAY_DIAL_MAX, "each can be tried");

/* One tunnel in its place. */
struct way {
	struct ways *ways;
	struct tunnel *tunnel; /* or NULL */
	enum tunnel_state last_state;
};

struct ways {
	struct loop *loop;
	struct way all[N_KINDS]; /* by kind */
	uint64_t nic_shunned_until_ms;
	void (*changed)(void *arg);
	void *arg;
};

/* In the order to be tried. */
struct choice {
	enum rule_via kinds[N_WAYS];
	unsigned int n;
};

const char *tunnel_state_name(enum tunnel_state state)
{
	static const char *const names[] = {
		[TUNNEL_DOWN] = "down",
		[TUNNEL_CONNECTING] = "connecting",
		[TUNNEL_UP] = "up",
		[TUNNEL_FAILED] = "failed",
	};

	return names[state];
}

int ways_new(struct loop *loop, struct ways **out)
{
	struct ways *ways = calloc(1, sizeof(*ways));

	if (!ways)
		return -ENOMEM;
	ways->loop = loop;
	*out = ways;
	return 0;
}

void ways_free(struct ways *ways)
{
	if (!ways)
		return;
	for (unsigned int i = 0; i < N_KINDS; i++) {
		struct tunnel *t = ways->all[i].tunnel;

		if (t)
			t->ops->free(t);
	}
	free(ways);
}

static void log_state(const struct tunnel *t)
{
	log_at(t->state == TUNNEL_FAILED ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
	       "the way into the guest by %s is %s%s%s", t->name, tunnel_state_name(t->state),
	       t->error[0] && t->state != TUNNEL_UP ? ": " : "",
	       t->state != TUNNEL_UP ? t->error : "");
	log_event("tunnel", "name", t->name, "state", tunnel_state_name(t->state),
		  t->error[0] ? "error" : NULL, t->error, NULL);
}

static void on_changed(void *arg)
{
	struct way *way = arg;

	if (way->tunnel->state == way->last_state)
		return;
	way->last_state = way->tunnel->state;
	log_state(way->tunnel);
	if (way->ways->changed)
		way->ways->changed(way->ways->arg);
}

void ways_add(struct ways *ways, enum rule_via kind, struct tunnel *tunnel)
{
	struct way *way = &ways->all[kind];

	assert(!way->tunnel);
	*way = (struct way){ .ways = ways, .tunnel = tunnel, .last_state = tunnel->state };
	tunnel->changed = on_changed;
	tunnel->changed_arg = way;
}

void ways_remove(struct ways *ways, enum rule_via kind)
{
	struct way *way = &ways->all[kind];

	if (way->tunnel)
		way->tunnel->changed = NULL;
	way->tunnel = NULL;
}

struct tunnel *ways_tunnel(const struct ways *ways, enum rule_via kind)
{
	return ways->all[kind].tunnel;
}

void ways_on_change(struct ways *ways, void (*changed)(void *arg), void *arg)
{
	ways->changed = changed;
	ways->arg = arg;
}

/* --- which --------------------------------------------------------------- */

static bool is_auto(const struct way_request *request)
{
	return request->via == RULE_VIA_AUTO || request->via == RULE_VIA_DEFAULT;
}

static bool is_on_loopback(const struct way_request *request)
{
	return !request->is_static && ipaddr_is_loopback(&request->guest.endpoint.addr);
}

static const char *missing(enum rule_via kind)
{
	switch (kind) {
	case RULE_VIA_SSH:
		return "it is to go by ssh, which is not set up";
	case RULE_VIA_GRPC:
		return "it is to go by grpc, but no agent is set up";
	case RULE_VIA_NETNS:
		return "it is to go by netns, but the guest is no namespace";
	case RULE_VIA_VSOCK:
		return "it is to go by vsock, but there is no agent, or the guest has no vsock";
	case RULE_VIA_DEFAULT:
	case RULE_VIA_DIRECT:
	case RULE_VIA_AUTO:
	case RULE_VIA_NONE:
		break;
	}
	return "it is to go by a way that is not set up";
}

/* Why the way of this kind does not reach it; NULL if it does. */
static const char *why_not(const struct ways *ways, const struct way_request *request,
			   enum rule_via kind)
{
	const struct tunnel *t = ways->all[kind].tunnel;

	if (!t)
		return missing(kind);
	if (kind == RULE_VIA_DIRECT && request->guest.path)
		return "it is a UNIX socket, which the NIC does not reach";
	if (kind == RULE_VIA_DIRECT && is_on_loopback(request))
		return "it listens on the guest's loopback, which the NIC does not reach";
	if (request->proto == FORWARD_UDP && !t->ops->open_udp)
		return "it is to go by ssh, which carries no UDP";
	return NULL;
}

/* The less, the sooner it is tried. */
static unsigned int rank(const struct ways *ways, enum rule_via kind)
{
	switch (ways->all[kind].tunnel->state) {
	case TUNNEL_UP:
		break;
	case TUNNEL_CONNECTING:
		return 1;
	case TUNNEL_DOWN:
		return 2;
	case TUNNEL_FAILED:
		return 4;
	}
	if (kind == RULE_VIA_DIRECT && loop_now_ms(ways->loop) < ways->nic_shunned_until_ms)
		return 3;
	return 0;
}

static void insert(const struct ways *ways, struct choice *c, enum rule_via kind)
{
	unsigned int i = c->n++;

	for (; i > 0 && rank(ways, c->kinds[i - 1]) > rank(ways, kind); i--)
		c->kinds[i] = c->kinds[i - 1];
	c->kinds[i] = kind;
}

static struct choice choose(const struct ways *ways, const struct way_request *request)
{
	struct choice c = { .n = 0 };

	if (!is_auto(request)) {
		if (!why_not(ways, request, request->via))
			insert(ways, &c, request->via);
		return c;
	}
	for (unsigned int i = 0; i < N_WAYS; i++) {
		if (!why_not(ways, request, by_speed[i]))
			insert(ways, &c, by_speed[i]);
	}
	return c;
}

const char *ways_why_not(const struct ways *ways, const struct way_request *request)
{
	if (!is_auto(request))
		return why_not(ways, request, request->via);
	if (choose(ways, request).n > 0)
		return NULL;
	return request->guest.path ? "it is a UNIX socket, and no tunnel to the guest is set up" :
				     "it listens on the guest's loopback, and no tunnel to the "
				     "guest is set up";
}

enum rule_via ways_now(const struct ways *ways, const struct way_request *request)
{
	struct choice c = choose(ways, request);

	return c.n > 0 ? c.kinds[0] : RULE_VIA_NONE;
}

static bool can_listen(const struct tunnel *t, enum forward_proto proto)
{
	if (!t)
		return false;
	if (proto == FORWARD_TCP)
		return t->ops->listen;
	return t->ops->bind_udp || t->ops->listen_udp;
}

/* The kind of way can, but not those at its other end. */
static bool lacks_listen(const struct tunnel *t, enum forward_proto proto)
{
	return t->lacks & (proto == FORWARD_TCP ? TUNNEL_LACKS_LISTEN : TUNNEL_LACKS_LISTEN_UDP);
}

static const char *why_not_listen(const struct ways *ways, enum rule_via via,
				  enum forward_proto proto, bool is_lacking)
{
	bool is_any = via == RULE_VIA_AUTO || via == RULE_VIA_DEFAULT;

	if (is_lacking && proto == FORWARD_UDP)
		return "the agent in the guest cannot listen for UDP: it takes a netfwd-agent of "
		       "this version, see netfwd agent install";
	if (is_lacking)
		return "the agent in the guest cannot listen there: it takes netfwd-agent, see "
		       "netfwd agent install";
	if (!is_any && !ways->all[via].tunnel)
		return missing(via);
	if (proto == FORWARD_UDP)
		return "no way into the guest can take UDP from there";
	return "no way into the guest can listen there";
}

struct tunnel *ways_listener(const struct ways *ways, enum rule_via via, enum forward_proto proto,
			     const char **why)
{
	struct choice c = { .n = 0 };
	bool is_any = via == RULE_VIA_AUTO || via == RULE_VIA_DEFAULT;
	bool is_lacking = false;

	for (unsigned int i = 0; i < N_WAYS; i++) {
		const struct tunnel *t = ways->all[by_speed[i]].tunnel;

		if ((!is_any && via != by_speed[i]) || !can_listen(t, proto))
			continue;
		if (lacks_listen(t, proto))
			is_lacking = true;
		else
			insert(ways, &c, by_speed[i]);
	}
	if (c.n > 0)
		return ways->all[c.kinds[0]].tunnel;
	*why = why_not_listen(ways, via, proto, is_lacking);
	return NULL;
}

/* --- connections --------------------------------------------------------- */

static int try_way(void *arg, unsigned int kind, const struct tunnel_place *guest,
		   struct stream **out)
{
	const struct ways *ways = arg;
	struct tunnel *t = ways->all[kind].tunnel;

	return t->ops->dial(t, guest, out);
}

/* The error of a tunnel that was refused is the answer of the guest; that of the NIC
 * may be its firewall's. */
static bool is_final(void *arg, unsigned int kind, int error)
{
	struct ways *ways = arg;

	if (kind != RULE_VIA_DIRECT)
		return error == -ECONNREFUSED || error == -ENOENT;
	if (error == -ETIMEDOUT)
		ways->nic_shunned_until_ms = loop_now_ms(ways->loop) + WAYS_NIC_SHUN_MS;
	return false;
}

static unsigned int limit_of(void *arg, unsigned int kind)
{
	(void)arg;
	return kind == RULE_VIA_DIRECT ? WAYS_NIC_TIMEOUT_MS : WAYS_TUNNEL_TIMEOUT_MS;
}

int ways_dial(struct ways *ways, const struct way_request *request, struct stream **out)
{
	struct choice c = choose(ways, request);
	struct way_dial_plan plan = {
		.try = try_way,
		.is_final = is_final,
		.limit_ms = limit_of,
		.arg = ways,
		.n = c.n,
	};

	if (c.n == 0)
		return -ENOTCONN;
	if (c.n == 1)
		return try_way(ways, c.kinds[0], &request->guest, out);
	for (unsigned int i = 0; i < c.n; i++)
		plan.kinds[i] = c.kinds[i];
	return way_dial(ways->loop, &plan, &request->guest, out);
}

int ways_open_udp(struct ways *ways, const struct way_request *request,
		  const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	struct choice c = choose(ways, request);
	int r = -ENOTCONN;

	for (unsigned int i = 0; i < c.n && r < 0; i++) {
		struct tunnel *t = ways->all[c.kinds[i]].tunnel;

		r = t->ops->open_udp(t, &request->guest.endpoint, owner, arg, out);
	}
	return r;
}
