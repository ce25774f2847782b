/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The ways into one guest, and which of them a connection takes. Each way is a
 * struct tunnel, the NIC too; what asks for a connection names the way or leaves
 * it open (`auto`). Asked anew at every connection, so that what listens on the
 * host outlives every way.
 *
 * `auto` tries, one after the other, the ways that can reach the place: those that
 * are up before those that are not, and among equals the faster first: netns,
 * direct, vsock, grpc, ssh. The NIC does not reach the guest's loopback, nor its UNIX
 * sockets. A way fails that is not connected; the NIC also when it is refused, as by
 * a guest's firewall; a tunnel's refusal is the guest's own word and final. Each try
 * but the last is bounded in time. A way that is named is the only one tried. */
#include <stdbool.h>

#include "forwarder/forward_spec.h"
#include "forwarder/rule.h"
#include "forwarder/tunnel.h"

struct loop;
struct ways;

/* The most time that one way gets when there is another one. */
#define WAYS_NIC_TIMEOUT_MS 1000
#define WAYS_TUNNEL_TIMEOUT_MS 5000
/* A NIC that was silent where a tunnel was not comes last for so long. */
#define WAYS_NIC_SHUN_MS 60000

struct way_request {
	enum rule_via via; /* RULE_VIA_DEFAULT is RULE_VIA_AUTO */
	enum forward_proto proto;
	struct tunnel_place guest;
	/* Where its server will listen nobody said: the NIC is tried for 127.0.0.1 too. */
	bool is_static;
};

/* The ways into the guest of this name, for who has several guests; "": the only
 * one, or whichever has the address. NULL: that guest has none of its own. */
typedef struct ways *ways_find_fn(void *arg, const char *guest_name);

int ways_new(struct loop *loop, struct ways **out);
/* With all tunnels; after their users. Accepts NULL. */
void ways_free(struct ways *ways);
/* Takes the tunnel, once for each kind, and its changed(). The kinds are SSH, GRPC,
 * VSOCK, DIRECT and NETNS. */
void ways_add(struct ways *ways, enum rule_via kind, struct tunnel *tunnel);
/* Gives it back: for one that is not the ways' to free. After its users. */
void ways_remove(struct ways *ways, enum rule_via kind);
struct tunnel *ways_tunnel(const struct ways *ways, enum rule_via kind); /* NULL: has none */
/* Called after a tunnel's state has changed, which is logged. One user. */
void ways_on_change(struct ways *ways, void (*changed)(void *arg), void *arg);

/* As in tunnel.h. -ENOTCONN: none of the ways is usable now. */
int ways_dial(struct ways *ways, const struct way_request *request, struct stream **out);
int ways_open_udp(struct ways *ways, const struct way_request *request,
		  const struct udp_flow_owner *owner, void *arg, struct udp_flow **out);

/* For a reverse forward: the best way that can listen in the guest, NULL and why if there is none. */
struct tunnel *ways_listener(const struct ways *ways, enum rule_via via, enum forward_proto proto,
			     const char **why);

/* NULL if there is a way, be it down for now; else why there is none. */
const char *ways_why_not(const struct ways *ways, const struct way_request *request);
/* What a connection made now would try first; RULE_VIA_NONE: there is no way. */
enum rule_via ways_now(const struct ways *ways, const struct way_request *request);
const char *tunnel_state_name(enum tunnel_state state); /* "up" */
