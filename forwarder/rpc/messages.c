/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <agent.pb-c.h>

#include "forwarder/rpc/messages_pack.h"

#define ERRNO_MAX 4095

/* Named by protoc-c. */
typedef Netfwd__V1__HelloMessage hello_message;
typedef Netfwd__V1__Listener listener_message;

int message_hello(const struct rpc_hello *hello, struct message *out)
{
	hello_message m = NETFWD__V1__HELLO_MESSAGE__INIT;

	m.protocol = hello->protocol;
	m.features = hello->features;
	m.raw_port = hello->raw_port;
	m.version = message_unconst(hello->version);
	return message_pack(&m.base, out);
}

int message_parse_hello(const uint8_t *data, size_t len, struct rpc_hello *out)
{
	struct message_budget b;
	hello_message *m = message_unpack(&b, &netfwd__v1__hello_message__descriptor, data, len);

	if (!m)
		return -EPROTO;
	out->protocol = m->protocol;
	out->features = m->features;
	out->raw_port = m->raw_port;
	message_copy_text(out->version, sizeof(out->version), m->version);
	message_unpack_free(&b, m);
	return 0;
}

/* --- addresses --- */

static ProtobufCBinaryData address_bytes(const struct ipaddr *a)
{
	const uint8_t *bytes = ipaddr_is_v4(a) ? ipaddr_v4_bytes(a) : a->b;

	return (ProtobufCBinaryData){ ipaddr_is_v4(a) ? 4 : 16, (uint8_t *)(uintptr_t)bytes };
}

static int parse_endpoint(const ProtobufCBinaryData *address, uint32_t port, struct endpoint *out)
{
	if (port == 0 || port > UINT16_MAX)
		return -EPROTO;
	if (address->len == 4)
		out->addr = ipaddr_from_v4(address->data);
	else if (address->len == 16)
		out->addr = ipaddr_from_v6(address->data);
	else
		return -EPROTO;
	out->port = (uint16_t)port;
	return 0;
}

static void fill_place(const struct rpc_place *place, Netfwd__V1__Place *m)
{
	if (place->path[0]) {
		m->path = message_unconst(place->path);
		return;
	}
	m->address = address_bytes(&place->endpoint.addr);
	m->port = place->endpoint.port;
}

static int read_place(const Netfwd__V1__Place *m, struct rpc_place *out)
{
	size_t len = strlen(m->path);

	*out = (struct rpc_place){ 0 };
	if (len == 0)
		return parse_endpoint(&m->address, m->port, &out->endpoint);
	if (m->path[0] != '/' || len >= sizeof(out->path))
		return -EPROTO;
	memcpy(out->path, m->path, len);
	return 0;
}

int message_listen_at(const struct rpc_open *at, struct message *out)
{
	Netfwd__V1__Place m = NETFWD__V1__PLACE__INIT;

	fill_place(&at->place, &m);
	m.is_udp = at->is_udp;
	return message_pack(&m.base, out);
}

int message_parse_listen_at(const uint8_t *data, size_t len, struct rpc_open *out)
{
	struct message_budget b;
	Netfwd__V1__Place *m = message_unpack(&b, &netfwd__v1__place__descriptor, data, len);
	int r;

	if (!m)
		return -EPROTO;
	*out = (struct rpc_open){ .is_udp = m->is_udp };
	r = m->is_udp && m->path[0] ? -EPROTO : read_place(m, &out->place);
	message_unpack_free(&b, m);
	return r;
}

/* --- flows --- */

int message_flow(const struct rpc_flow_message *flow, struct message *out)
{
	Netfwd__V1__FlowMessage m = NETFWD__V1__FLOW_MESSAGE__INIT;
	Netfwd__V1__Open open = NETFWD__V1__OPEN__INIT;
	Netfwd__V1__Place place = NETFWD__V1__PLACE__INIT;
	Netfwd__V1__Opened opened = NETFWD__V1__OPENED__INIT;
	Netfwd__V1__Fin fin = NETFWD__V1__FIN__INIT;
	Netfwd__V1__Refused refused = NETFWD__V1__REFUSED__INIT;

	switch (flow->kind) {
	case RPC_FLOW_OPEN:
		open.is_udp = flow->open.is_udp;
		open.accepted = flow->open.accepted;
		fill_place(&flow->open.place, &place);
		open.place = flow->open.accepted ? NULL : &place;
		m.open = &open;
		m.kind_case = NETFWD__V1__FLOW_MESSAGE__KIND_OPEN;
		break;
	case RPC_FLOW_OPENED:
		opened.error = -flow->error;
		m.opened = &opened;
		m.kind_case = NETFWD__V1__FLOW_MESSAGE__KIND_OPENED;
		break;
	case RPC_FLOW_FIN:
		m.fin = &fin;
		m.kind_case = NETFWD__V1__FLOW_MESSAGE__KIND_FIN;
		break;
	case RPC_FLOW_REFUSED:
		m.refused = &refused;
		m.kind_case = NETFWD__V1__FLOW_MESSAGE__KIND_REFUSED;
		break;
	case RPC_FLOW_DATA_ONLY:
		break;
	}
	return message_pack(&m.base, out);
}

static int read_open(const Netfwd__V1__Open *m, struct rpc_open *out)
{
	out->is_udp = m->is_udp;
	out->accepted = m->accepted;
	if (out->accepted)
		return 0;
	return m->place ? read_place(m->place, &out->place) : -EPROTO;
}

/* What the peer says its kernel said: 0 or -errno. */
static int read_errno(int32_t error)
{
	if (error == 0)
		return 0;
	return error > 0 && error <= ERRNO_MAX ? -error : -EIO;
}

static int read_flow(const Netfwd__V1__FlowMessage *m, struct rpc_flow_message *out)
{
	*out = (struct rpc_flow_message){ .kind = RPC_FLOW_DATA_ONLY };
	if (m->kind_case == NETFWD__V1__FLOW_MESSAGE__KIND_OPEN) {
		out->kind = RPC_FLOW_OPEN;
		return read_open(m->open, &out->open);
	}
	if (m->kind_case == NETFWD__V1__FLOW_MESSAGE__KIND_OPENED) {
		out->kind = RPC_FLOW_OPENED;
		out->error = read_errno(m->opened->error);
	} else if (m->kind_case == NETFWD__V1__FLOW_MESSAGE__KIND_FIN) {
		out->kind = RPC_FLOW_FIN;
	} else if (m->kind_case == NETFWD__V1__FLOW_MESSAGE__KIND_REFUSED) {
		out->kind = RPC_FLOW_REFUSED;
	}
	return 0;
}

int message_parse_flow(const uint8_t *data, size_t len, struct rpc_flow_message *out)
{
	struct message_budget b;
	Netfwd__V1__FlowMessage *m =
		message_unpack(&b, &netfwd__v1__flow_message__descriptor, data, len);
	int r;

	if (!m)
		return -EPROTO;
	r = read_flow(m, out);
	message_unpack_free(&b, m);
	return r;
}

int message_listen(const struct rpc_listen_message *listen, struct message *out)
{
	Netfwd__V1__ListenMessage m = NETFWD__V1__LISTEN_MESSAGE__INIT;
	Netfwd__V1__Opened listening = NETFWD__V1__OPENED__INIT;
	Netfwd__V1__Accepted accepted = NETFWD__V1__ACCEPTED__INIT;

	if (listen->is_accepted) {
		accepted.id = listen->id;
		m.accepted = &accepted;
		m.kind_case = NETFWD__V1__LISTEN_MESSAGE__KIND_ACCEPTED;
	} else {
		listening.error = -listen->error;
		m.listening = &listening;
		m.kind_case = NETFWD__V1__LISTEN_MESSAGE__KIND_LISTENING;
	}
	return message_pack(&m.base, out);
}

int message_parse_listen(const uint8_t *data, size_t len, struct rpc_listen_message *out)
{
	struct message_budget b;
	Netfwd__V1__ListenMessage *m =
		message_unpack(&b, &netfwd__v1__listen_message__descriptor, data, len);
	int r = 0;

	if (!m)
		return -EPROTO;
	*out = (struct rpc_listen_message){ 0 };
	if (m->kind_case == NETFWD__V1__LISTEN_MESSAGE__KIND_ACCEPTED) {
		out->is_accepted = true;
		out->id = m->accepted->id;
	} else if (m->kind_case == NETFWD__V1__LISTEN_MESSAGE__KIND_LISTENING) {
		out->error = read_errno(m->listening->error);
	} else {
		r = -EPROTO;
	}
	message_unpack_free(&b, m);
	return r;
}

/* --- listeners --- */

static void fill_listeners(const struct rpc_listener *from, unsigned int n, listener_message *m,
			   listener_message **refs)
{
	for (unsigned int i = 0; i < n; i++) {
		netfwd__v1__listener__init(&m[i]);
		m[i].is_udp = from[i].is_udp;
		m[i].address = address_bytes(&from[i].guest.addr);
		m[i].port = from[i].guest.port;
		refs[i] = &m[i];
	}
}

int message_event(const struct rpc_event *event, const struct message_ports *ports,
		  struct message *out)
{
	Netfwd__V1__Event m = NETFWD__V1__EVENT__INIT;
	unsigned int n = ports->n_added + ports->n_removed;
	listener_message *listeners = calloc(n + 1U, sizeof(*listeners));
	listener_message **refs = calloc(n + 1U, sizeof(void *));
	int r = -ENOMEM;

	m.is_all = event->is_all;
	m.ephemeral_first = event->ephemeral_first;
	m.ephemeral_last = event->ephemeral_last;
	if (listeners && refs) {
		fill_listeners(ports->added, ports->n_added, listeners, refs);
		fill_listeners(ports->removed, ports->n_removed, listeners + ports->n_added,
			       refs + ports->n_added);
		m.n_added = ports->n_added;
		m.added = refs;
		m.n_removed = ports->n_removed;
		m.removed = refs + ports->n_added;
		r = message_pack(&m.base, out);
	}
	free(listeners);
	free(refs);
	return r;
}

static int report(const struct message_sink *sink, bool is_added, listener_message *const *all,
		  size_t n)
{
	int refused = 0;

	for (size_t i = 0; i < n; i++) {
		struct rpc_listener l = { .is_udp = all[i]->is_udp };

		if (parse_endpoint(&all[i]->address, all[i]->port, &l.guest) < 0)
			refused++;
		else
			sink->fn(sink->arg, is_added, &l);
	}
	return refused;
}

static uint16_t to_port(uint32_t port)
{
	return port <= UINT16_MAX ? (uint16_t)port : 0;
}

int message_parse_event(const uint8_t *data, size_t len, struct rpc_event *out,
			const struct message_sink *sink)
{
	struct message_budget b;
	Netfwd__V1__Event *m = message_unpack(&b, &netfwd__v1__event__descriptor, data, len);
	int refused;

	if (!m)
		return -EPROTO;
	*out = (struct rpc_event){ .is_all = m->is_all,
				   .ephemeral_first = to_port(m->ephemeral_first),
				   .ephemeral_last = to_port(m->ephemeral_last) };
	refused = report(sink, false, m->removed, m->n_removed);
	refused += report(sink, true, m->added, m->n_added);
	message_unpack_free(&b, m);
	return refused;
}
