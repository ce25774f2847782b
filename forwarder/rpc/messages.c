/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rpc/messages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <agent.pb-c.h>
#include <guest_service.pb-c.h>

#include "forwarder/rpc/grpc_message.h"

/* A message of 4 MiB that consists of empty parts would take a hundred times as
 * much unpacked. */
#define UNPACK_BUDGET (64UL * 1024 * 1024)
#define ALLOCATION_OVERHEAD 16U
#define ERRNO_MAX 4095

/* Named by protoc-c. */
typedef Netfwd__V1__HelloMessage hello_message;
typedef Netfwd__V1__Listener listener_message;

static void *budget_alloc(void *arg, size_t size)
{
	size_t *left = arg, cost = size + ALLOCATION_OVERHEAD;

	if (cost > *left)
		return NULL;
	*left -= cost;
	return malloc(size);
}

static void budget_free(void *arg, void *memory)
{
	(void)arg;
	free(memory);
}

/* For one message: unpacked and freed with it. */
struct budget {
	size_t left;
	ProtobufCAllocator allocator;
};

static void *unpack(struct budget *b, const ProtobufCMessageDescriptor *type, const uint8_t *data,
		    size_t len)
{
	b->left = UNPACK_BUDGET;
	b->allocator = (ProtobufCAllocator){ budget_alloc, budget_free, &b->left };
	return protobuf_c_message_unpack(type, &b->allocator, len, data);
}

static void unpack_free(struct budget *b, void *message)
{
	protobuf_c_message_free_unpacked(message, &b->allocator);
}

static int pack(const ProtobufCMessage *m, struct message *out)
{
	size_t len = protobuf_c_message_get_packed_size(m);

	out->data = malloc(GRPC_PREFIX_SIZE + len);
	if (!out->data)
		return -ENOMEM;
	out->len = GRPC_PREFIX_SIZE + len;
	grpc_prefix(out->data, len);
	protobuf_c_message_pack(m, out->data + GRPC_PREFIX_SIZE);
	return 0;
}

int message_empty(struct message *out)
{
	Empty m = EMPTY__INIT;

	return pack(&m.base, out);
}

/* Printable ASCII, cut to what fits: it goes into logs. */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; from[n] && n + 1 < size; n++)
		to[n] = (char)(from[n] > ' ' && from[n] < 0x7f ? from[n] : '?');
	to[n] = '\0';
}

static char *unconst(const char *text)
{
	return (char *)(uintptr_t)text;
}

int message_hello(const struct rpc_hello *hello, struct message *out)
{
	hello_message m = NETFWD__V1__HELLO_MESSAGE__INIT;

	m.protocol = hello->protocol;
	m.features = hello->features;
	m.version = unconst(hello->version);
	return pack(&m.base, out);
}

int message_parse_hello(const uint8_t *data, size_t len, struct rpc_hello *out)
{
	struct budget b;
	hello_message *m = unpack(&b, &netfwd__v1__hello_message__descriptor, data, len);

	if (!m)
		return -EPROTO;
	out->protocol = m->protocol;
	out->features = m->features;
	copy_text(out->version, sizeof(out->version), m->version);
	unpack_free(&b, m);
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
		m->path = unconst(place->path);
		return;
	}
	m->address = address_bytes(&place->endpoint.addr);
	m->port = place->endpoint.port;
}

static int read_place(const Netfwd__V1__Place *m, struct rpc_place *out)
{
	*out = (struct rpc_place){ 0 };
	if (!m->path[0])
		return parse_endpoint(&m->address, m->port, &out->endpoint);
	if (m->path[0] != '/' || strlen(m->path) >= sizeof(out->path))
		return -EPROTO;
	strcpy(out->path, m->path);
	return 0;
}

int message_place(const struct rpc_place *place, struct message *out)
{
	Netfwd__V1__Place m = NETFWD__V1__PLACE__INIT;

	fill_place(place, &m);
	return pack(&m.base, out);
}

int message_parse_place(const uint8_t *data, size_t len, struct rpc_place *out)
{
	struct budget b;
	Netfwd__V1__Place *m = unpack(&b, &netfwd__v1__place__descriptor, data, len);
	int r;

	if (!m)
		return -EPROTO;
	r = read_place(m, out);
	unpack_free(&b, m);
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
	return pack(&m.base, out);
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
	struct budget b;
	Netfwd__V1__FlowMessage *m =
		unpack(&b, &netfwd__v1__flow_message__descriptor, data, len);
	int r;

	if (!m)
		return -EPROTO;
	r = read_flow(m, out);
	unpack_free(&b, m);
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
	return pack(&m.base, out);
}

int message_parse_listen(const uint8_t *data, size_t len, struct rpc_listen_message *out)
{
	struct budget b;
	Netfwd__V1__ListenMessage *m =
		unpack(&b, &netfwd__v1__listen_message__descriptor, data, len);
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
	unpack_free(&b, m);
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
	listener_message **refs = calloc(n + 1U, sizeof(*refs));
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
		r = pack(&m.base, out);
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
	struct budget b;
	Netfwd__V1__Event *m = unpack(&b, &netfwd__v1__event__descriptor, data, len);
	int refused;

	if (!m)
		return -EPROTO;
	*out = (struct rpc_event){ .is_all = m->is_all,
				   .ephemeral_first = to_port(m->ephemeral_first),
				   .ephemeral_last = to_port(m->ephemeral_last) };
	refused = report(sink, false, m->removed, m->n_removed);
	refused += report(sink, true, m->added, m->n_added);
	unpack_free(&b, m);
	return refused;
}

/* --- Lima's --- */

struct guest_ports {
	IPPort *ports;
	IPPort **refs;
	char (*texts)[ADDR_TEXT_SIZE];
};

static void guest_ports_deinit(struct guest_ports *p)
{
	free(p->ports);
	free(p->refs);
	free(p->texts);
}

static int guest_ports_init(struct guest_ports *p, const struct message_ports *from)
{
	unsigned int n = from->n_added + from->n_removed;

	p->ports = calloc(n + 1U, sizeof(*p->ports));
	p->refs = calloc(n + 1U, sizeof(*p->refs));
	p->texts = calloc(n + 1U, sizeof(*p->texts));
	if (!p->ports || !p->refs || !p->texts)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		const struct rpc_listener *l =
			i < from->n_added ? &from->added[i] : &from->removed[i - from->n_added];

		ipport__init(&p->ports[i]);
		p->ports[i].protocol = unconst(l->is_udp ? "udp" : "tcp");
		ipaddr_format(&l->guest.addr, p->texts[i]);
		p->ports[i].ip = p->texts[i];
		p->ports[i].port = l->guest.port;
		p->refs[i] = &p->ports[i];
	}
	return 0;
}

int message_guest_info(const struct message_ports *ports, struct message *out)
{
	Info m = INFO__INIT;
	struct guest_ports p;
	int r = guest_ports_init(&p, ports);

	if (r == 0) {
		m.n_local_ports = ports->n_added;
		m.local_ports = p.refs;
		r = pack(&m.base, out);
	}
	guest_ports_deinit(&p);
	return r;
}

int message_guest_event(const struct message_ports *ports, struct message *out)
{
	Event m = EVENT__INIT;
	Timestamp now = TIMESTAMP__INIT;
	struct timespec clock;
	struct guest_ports p;
	int r = guest_ports_init(&p, ports);

	if (r == 0) {
		clock_gettime(CLOCK_REALTIME, &clock);
		now.seconds = clock.tv_sec;
		now.nanos = (int32_t)clock.tv_nsec;
		m.time = &now;
		m.n_added_local_ports = ports->n_added;
		m.added_local_ports = p.refs;
		m.n_removed_local_ports = ports->n_removed;
		m.removed_local_ports = p.refs + ports->n_added;
		r = pack(&m.base, out);
	}
	guest_ports_deinit(&p);
	return r;
}

static int read_guest_port(const IPPort *m, struct rpc_listener *out)
{
	if (strcmp(m->protocol, "tcp") != 0 && strcmp(m->protocol, "udp") != 0)
		return -EPROTO;
	if (m->port <= 0 || m->port > UINT16_MAX || ipaddr_parse(m->ip, &out->guest.addr) < 0)
		return -EPROTO;
	out->is_udp = m->protocol[0] == 'u';
	out->guest.port = (uint16_t)m->port;
	return 0;
}

static int guest_report(const struct message_sink *sink, bool is_added, IPPort *const *all,
			size_t n)
{
	int refused = 0;

	for (size_t i = 0; i < n; i++) {
		struct rpc_listener l;

		if (read_guest_port(all[i], &l) < 0)
			refused++;
		else
			sink->fn(sink->arg, is_added, &l);
	}
	return refused;
}

int message_parse_guest_info(const uint8_t *data, size_t len, const struct message_sink *sink)
{
	struct budget b;
	Info *m = unpack(&b, &info__descriptor, data, len);
	int refused;

	if (!m)
		return -EPROTO;
	refused = guest_report(sink, true, m->local_ports, m->n_local_ports);
	unpack_free(&b, m);
	return refused;
}

int message_parse_guest_event(const uint8_t *data, size_t len, const struct message_sink *sink)
{
	struct budget b;
	Event *m = unpack(&b, &event__descriptor, data, len);
	int refused;

	if (!m)
		return -EPROTO;
	refused = guest_report(sink, false, m->removed_local_ports, m->n_removed_local_ports);
	refused += guest_report(sink, true, m->added_local_ports, m->n_added_local_ports);
	unpack_free(&b, m);
	return refused;
}

int message_guest_open(const struct guest_open *open, struct message *out)
{
	TunnelMessage m = TUNNEL_MESSAGE__INIT;
	char text[ADDR_TEXT_SIZE];

	m.id = unconst(open->id);
	m.protocol = unconst(open->is_udp ? "udp" : "tcp");
	endpoint_format(&open->guest, text);
	m.guest_addr = text;
	return pack(&m.base, out);
}

/* "127.0.0.1:80", "[::1]:80" */
static int parse_guest_addr(const char *text, struct endpoint *out)
{
	char host[ADDR_TEXT_SIZE];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	char *end;
	unsigned long port;

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(host))
		return -EPROTO;
	memcpy(host, text, len);
	host[len] = '\0';
	if (colon[1] < '0' || colon[1] > '9' || ipaddr_parse(host, &out->addr) < 0)
		return -EPROTO;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port == 0 || port > UINT16_MAX)
		return -EPROTO;
	out->port = (uint16_t)port;
	return 0;
}

static int read_guest_open(const TunnelMessage *m, struct guest_open *out)
{
	*out = (struct guest_open){ 0 };
	if (strcmp(m->protocol, "tcp") != 0 && strcmp(m->protocol, "udp") != 0)
		return -EPROTO;
	out->is_udp = m->protocol[0] == 'u';
	copy_text(out->id, sizeof(out->id), m->id);
	return parse_guest_addr(m->guest_addr, &out->guest);
}

int message_parse_guest_open(const uint8_t *data, size_t len, struct guest_open *out)
{
	struct budget b;
	TunnelMessage *m = unpack(&b, &tunnel_message__descriptor, data, len);
	int r;

	if (!m)
		return -EPROTO;
	r = read_guest_open(m, out);
	unpack_free(&b, m);
	return r;
}

int message_guest_time(int64_t drift_ms, struct message *out)
{
	TimeSyncResponse m = TIME_SYNC_RESPONSE__INIT;

	m.drift_ms = drift_ms;
	return pack(&m.base, out);
}

int message_parse_guest_time(const uint8_t *data, size_t len, int64_t now_ms, int64_t *drift_ms)
{
	struct budget b;
	TimeSyncRequest *m = unpack(&b, &time_sync_request__descriptor, data, len);
	int r = -EPROTO;

	if (!m)
		return -EPROTO;
	/* far beyond any clock, and what a hostile one could overflow with */
	if (m->host_time && llabs(m->host_time->seconds / 2) < INT32_MAX * 4LL) {
		*drift_ms = now_ms - (m->host_time->seconds * 1000 +
				      m->host_time->nanos / 1000000);
		r = 0;
	}
	unpack_free(&b, m);
	return r;
}
