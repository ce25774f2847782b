/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/reverse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "forwarder/connections.h"
#include "forwarder/events.h"
#include "forwarder/outlet.h"
#include "forwarder/reverse_clients.h"
#include "forwarder/udp_forward.h"
#include "forwarder/ways.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/dial.h"
#include "netstack/stream.h"
#include "netstack/udp_flow_fd.h"

#define NAME_SIZE (PUBLICATION_PATH_SIZE + 8)

struct reverses {
	struct loop *loop;
	struct ways *ways;
	const char *guest_name;
	struct udp_hub *udp_hub; /* NULL: no UDP so far */
	struct list all;	 /* reversal.node */
	struct list retired;	 /* likewise: not wanted, connections are left */
};

struct reversal {
	struct list node; /* reverses.all or retired */
	struct reverses *owner;
	struct reverse_forward what;
	char name[NAME_SIZE];		  /* of the guest's place, for logs */
	struct tunnel *tunnel;		  /* it listens there, or is about to; NULL: no */
	struct tunnel_listener *listener; /* of TCP, and of UDP with clients */
	struct udp_forward *udp;	  /* UDP: a socket of ours in the guest; or */
	struct reverse_clients *clients;  /* the tunnel tells of them */
	struct connections connections;
	uint64_t n_accepted;
	struct timer *timer; /* of the next try */
	unsigned int retry_ms;
	bool is_open, has_failed; /* and it was told */
	bool is_wanted;
	char error[LISTEN_ERROR_SIZE]; /* "": none */
};

void reverse_list_add(struct reverse_list *list, const struct reverse_forward *item)
{
	if (list->n == REVERSE_MAX)
		list->n_left_out++;
	else
		list->items[list->n++] = *item;
}

int reverses_new(struct loop *loop, struct ways *ways, const char *guest_name,
		 struct reverses **out)
{
	struct reverses *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->ways = ways;
	all->guest_name = guest_name;
	list_init(&all->all);
	list_init(&all->retired);
	*out = all;
	return 0;
}

/* ---- events ---- */

static struct forward_route route_of(const struct reversal *r)
{
	return (struct forward_route){
		.proto = r->what.proto,
		.host = r->what.host,
		.guest = r->what.guest,
		.host_socket = r->what.host_socket[0] ? r->what.host_socket : NULL,
		.guest_socket = r->what.guest_socket[0] ? r->what.guest_socket : NULL,
		.guest_name = r->owner->guest_name,
		.is_reverse = true,
	};
}

static void tell_open(struct reversal *r)
{
	struct forward_route route = route_of(r);

	if (r->is_open)
		return;
	if (r->has_failed)
		event_recovered(&route);
	r->has_failed = false;
	r->is_open = true;
	event_forwarding(&route);
}

static void tell_closed(struct reversal *r)
{
	struct forward_route route = route_of(r);

	if (r->is_open)
		event_stopping(&route);
	r->is_open = false;
}

/* A way that is down for now is told by its own event. */
static void tell_failed(struct reversal *r, bool is_down)
{
	struct forward_route route = route_of(r);

	tell_closed(r);
	if (!r->has_failed) {
		log_at(is_down ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
		       "portForwards[%u]: %s is not listened on: %s", r->what.rule_index, r->name,
		       r->error);
		event_failed(&route, r->error);
	}
	r->has_failed = true;
}

/* ---- the host's side ---- */

static int dial_host(const struct reversal *r, struct stream **out)
{
	if (r->what.host_socket[0])
		return dial_unix(r->owner->loop, r->what.host_socket, out);
	return dial_tcp(r->owner->loop, &r->what.host, out);
}

static void on_accepted(void *arg, struct stream *guest)
{
	static const struct endpoint unknown = { .port = 0 };
	struct reversal *r = arg;
	struct stream *host;
	int error = dial_host(r, &host);

	r->n_accepted++;
	if (error == 0) {
		error = connections_join(&r->connections, guest, host, &unknown);
	} else {
		guest->ops->reset(guest);
	}
	if (error < 0)
		log_limited(LOG_LEVEL_WARN, "%s: no connection to the host: %s", r->name,
			    strerror(-error));
}

static int dial_host_udp(void *arg, const struct udp_flow_owner *owner, void *owner_arg,
			 struct udp_flow **out)
{
	const struct reversal *r = arg;
	int family = ipaddr_is_v4(&r->what.host.addr) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	int error = fd < 0 ? -errno : udp_flow_fd_connect(fd, &r->what.host);

	return error < 0 ? error : udp_flow_fd_new(r->owner->loop, fd, owner, owner_arg, out);
}

static void on_accepted_udp(void *arg, uint64_t client)
{
	struct reversal *r = arg;
	int error = reverse_clients_add(r->clients, r->tunnel, client);

	if (error < 0)
		log_limited(LOG_LEVEL_WARN, "%s: no flow to the host: %s", r->name,
			    strerror(-error));
}

/* ---- the guest's side ---- */

static void close_place(struct reversal *r)
{
	if (r->listener)
		r->tunnel->ops->unlisten(r->listener);
	r->listener = NULL;
	udp_forward_free(r->udp);
	r->udp = NULL;
	reverse_clients_free(r->clients);
	r->clients = NULL;
	r->tunnel = NULL;
}

static void plan_retry(struct reversal *r)
{
	r->retry_ms = r->retry_ms ? r->retry_ms * 2 : RETRY_MIN_MS;
	if (r->retry_ms > RETRY_MAX_MS)
		r->retry_ms = RETRY_MAX_MS;
	timer_start(r->timer, r->retry_ms);
}

static void fail(struct reversal *r, const char *why, bool is_down)
{
	(void)snprintf(r->error, sizeof(r->error), "%s", why);
	tell_failed(r, is_down);
	plan_retry(r);
}

static void succeed(struct reversal *r)
{
	r->error[0] = '\0';
	r->retry_ms = 0;
	timer_stop(r->timer);
	tell_open(r);
}

static const char *explain(const struct reversal *r, int error, char text[LISTEN_ERROR_SIZE])
{
	if (error == -EEXIST)
		return "the path is there in the guest and is not a socket; remove it, or "
		       "take another";
	if (error == -EADDRINUSE)
		return "another program of the guest has it";
	if (error == -EOPNOTSUPP)
		return "this way cannot listen on a socket in the guest: netfwd was built with an "
		       "installed libssh2; take the agent, via: grpc";
	if (error == -EACCES)
		return "the guest's kernel does not allow it; ports below 1024 are root's";
	if (error == -ENOTCONN && !(r->tunnel && r->tunnel->error[0]))
		return "the way into the guest is down";
	if (error == -ENOTCONN)
		(void)snprintf(text, LISTEN_ERROR_SIZE, "%s: %s", r->tunnel->name,
			       r->tunnel->error);
	else
		(void)snprintf(text, LISTEN_ERROR_SIZE, "cannot be had in the guest: %s",
			       strerror(-error));
	return text;
}

static void on_state(void *arg, int error)
{
	struct reversal *r = arg;
	char text[LISTEN_ERROR_SIZE];

	if (error == 0)
		succeed(r);
	else
		fail(r, explain(r, error, text), error == -ENOTCONN);
}

static const struct tunnel_accept accept_owner = {
	.accepted = on_accepted,
	.accepted_udp = on_accepted_udp,
	.state = on_state,
};

static int open_tcp(struct reversal *r)
{
	const struct tunnel_place place = {
		.endpoint = r->what.guest,
		.path = r->what.guest_socket[0] ? r->what.guest_socket : NULL,
	};

	return r->tunnel->ops->listen(r->tunnel, &place, &accept_owner, r, &r->listener);
}

/* By a tunnel that has no sockets in the guest to give. */
static int open_clients(struct reversal *r)
{
	const struct udp_dialer dialer = { .dial = dial_host_udp, .arg = r };
	const struct tunnel_ops *ops = r->tunnel->ops;
	int error = reverse_clients_new(&dialer, &r->clients);

	return error < 0 ?
		       error :
		       ops->listen_udp(r->tunnel, &r->what.guest, &accept_owner, r, &r->listener);
}

static int open_udp(struct reversal *r)
{
	const struct udp_dialer dialer = { .dial = dial_host_udp, .arg = r };
	struct reverses *all = r->owner;
	int fd = -1, error = 0;

	if (!r->tunnel->ops->bind_udp)
		return open_clients(r);
	if (!all->udp_hub)
		error = udp_hub_new(all->loop, &all->udp_hub);
	if (error == 0)
		error = r->tunnel->ops->bind_udp(r->tunnel, &r->what.guest, &fd);
	if (error == 0)
		error = udp_forward_new_from_fd(all->udp_hub, fd, &dialer, &r->udp);
	if (error == 0) {
		udp_forward_start(r->udp);
		succeed(r);
	}
	return error;
}

static void open_place(struct reversal *r)
{
	char text[LISTEN_ERROR_SIZE];
	const char *why;
	int error;

	close_place(r);
	r->tunnel = ways_listener(r->owner->ways, r->what.via, r->what.proto, &why);
	if (!r->tunnel) {
		fail(r, why, false);
		return;
	}
	error = r->what.proto == FORWARD_TCP ? open_tcp(r) : open_udp(r);
	if (error < 0)
		fail(r, explain(r, error, text), error == -ENOTCONN);
}

static void on_timer(void *arg)
{
	open_place(arg);
}

void reverses_retry(struct reverses *all)
{
	list_for_each(node, &all->all) {
		struct reversal *r = container_of(node, struct reversal, node);

		if (!r->is_open)
			timer_start(r->timer, 0);
	}
}

/* ---- what is wanted ---- */

static bool is_same(const struct reverse_forward *a, const struct reverse_forward *b)
{
	return a->proto == b->proto && endpoint_equal(&a->guest, &b->guest) &&
	       endpoint_equal(&a->host, &b->host) &&
	       strcmp(a->guest_socket, b->guest_socket) == 0 &&
	       strcmp(a->host_socket, b->host_socket) == 0 && a->via == b->via;
}

static void reversal_free(struct reversal *r)
{
	close_place(r);
	connections_reset(&r->connections);
	timer_free(r->timer);
	list_unlink(&r->node);
	free(r);
}

static void on_drained(void *arg)
{
	reversal_free(arg);
}

/* Its connections live on. */
static void reversal_end(struct reversal *r)
{
	struct forward_route route = route_of(r);

	close_place(r);
	timer_stop(r->timer);
	tell_closed(r);
	if (r->has_failed)
		event_not_forwarding(&route, "withdrawn before the guest's side could be had");
	if (r->connections.n == 0) {
		reversal_free(r);
		return;
	}
	list_unlink(&r->node);
	list_append(&r->owner->retired, &r->node);
	r->connections.drained = on_drained;
	r->connections.arg = r;
}

static int reversal_new(struct reverses *all, const struct reverse_forward *what)
{
	struct reversal *r = calloc(1, sizeof(*r));
	char guest[ADDR_TEXT_SIZE];

	if (!r)
		return -ENOMEM;
	r->owner = all;
	r->what = *what;
	r->is_wanted = true;
	(void)snprintf(r->name, sizeof(r->name), "guest %s",
		       what->guest_socket[0] ? what->guest_socket :
					       endpoint_format(&what->guest, guest));
	connections_init(&r->connections, all->loop, r->name);
	if (timer_new(all->loop, on_timer, r, &r->timer) < 0) {
		free(r);
		return -ENOMEM;
	}
	list_append(&all->all, &r->node);
	open_place(r);
	return 0;
}

static struct reversal *find(const struct reverses *all, const struct reverse_forward *what)
{
	list_for_each(node, &all->all) {
		struct reversal *r = container_of(node, struct reversal, node);

		if (is_same(&r->what, what))
			return r;
	}
	return NULL;
}

static void end_unwanted(struct reverses *all, const struct reverse_list *list)
{
	list_for_each(node, &all->all)
		container_of(node, struct reversal, node)->is_wanted = false;
	for (unsigned int i = 0; i < list->n; i++) {
		struct reversal *r = find(all, &list->items[i]);

		if (r)
			r->is_wanted = true;
	}
	list_for_each(node, &all->all) {
		struct reversal *r = container_of(node, struct reversal, node);

		if (!r->is_wanted)
			reversal_end(r);
	}
}

int reverses_set(struct reverses *all, const struct reverse_list *list)
{
	int result = 0;

	if (list->n_left_out)
		log_warn("%u reverse forwards are left out: %u at most", list->n_left_out,
			 REVERSE_MAX);
	end_unwanted(all, list);
	for (unsigned int i = 0; i < list->n; i++) {
		struct reversal *r = find(all, &list->items[i]);
		int error = 0;

		if (r)
			r->what.rule_index = list->items[i].rule_index;
		else
			error = reversal_new(all, &list->items[i]);
		if (error < 0)
			result = error;
	}
	return result;
}

void reverses_free(struct reverses *all)
{
	if (!all)
		return;
	list_for_each(node, &all->all)
		reversal_end(container_of(node, struct reversal, node));
	list_for_each(node, &all->retired)
		reversal_free(container_of(node, struct reversal, node));
	udp_hub_free(all->udp_hub);
	free(all);
}

/* ---- status ---- */

static void count(const struct reversal *r, struct host_counters *out)
{
	struct connection_counters tcp = connections_count(&r->connections);

	*out = (struct host_counters){
		.open = r->connections.n,
		.total = r->n_accepted,
		.to_guest_bytes = tcp.to_client_bytes,
		.to_host_bytes = tcp.to_server_bytes,
	};
	if (r->clients) {
		out->open = reverse_clients_n(r->clients);
		out->total = reverse_clients_counters(r->clients)->total;
		out->to_guest_bytes = reverse_clients_counters(r->clients)->to_guest_bytes;
		out->to_host_bytes = reverse_clients_counters(r->clients)->to_host_bytes;
	}
	if (!r->udp)
		return;
	out->open = udp_forward_n_flows(r->udp);
	out->total = udp_forward_counters(r->udp)->flows;
	out->to_guest_bytes = udp_forward_counters(r->udp)->to_host_bytes;
	out->to_host_bytes = udp_forward_counters(r->udp)->to_guest_bytes;
}

void reverses_each(const struct reverses *all, reverses_each_fn *fn, void *arg)
{
	list_for_each(node, &all->all) {
		const struct reversal *r = container_of(node, struct reversal, node);
		struct reverse_status status = {
			.forward = &r->what,
			.state = r->is_open ? PUBLICATION_FORWARDING : PUBLICATION_FAILED,
			.via = r->tunnel ? r->tunnel->name : NULL,
			.error = r->error[0] ? r->error : NULL,
		};

		count(r, &status.counters);
		fn(arg, &status);
	}
}
