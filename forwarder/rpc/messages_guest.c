/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <guest_service.pb-c.h>

#include "forwarder/rpc/messages.h"
#include "forwarder/rpc/messages_pack.h"

int message_empty(struct message *out)
{
	Empty m = EMPTY__INIT;

	return message_pack(&m.base, out);
}

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
	p->refs = calloc(n + 1U, sizeof(void *));
	p->texts = calloc(n + 1U, sizeof(*p->texts));
	if (!p->ports || !p->refs || !p->texts)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		const struct rpc_listener *l =
			i < from->n_added ? &from->added[i] : &from->removed[i - from->n_added];

		ipport__init(&p->ports[i]);
		p->ports[i].protocol = message_unconst(l->is_udp ? "udp" : "tcp");
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
		r = message_pack(&m.base, out);
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
		r = message_pack(&m.base, out);
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
	struct message_budget b;
	Info *m = message_unpack(&b, &info__descriptor, data, len);
	int refused;

	if (!m)
		return -EPROTO;
	refused = guest_report(sink, true, m->local_ports, m->n_local_ports);
	message_unpack_free(&b, m);
	return refused;
}

int message_parse_guest_event(const uint8_t *data, size_t len, const struct message_sink *sink)
{
	struct message_budget b;
	Event *m = message_unpack(&b, &event__descriptor, data, len);
	int refused;

	if (!m)
		return -EPROTO;
	refused = guest_report(sink, false, m->removed_local_ports, m->n_removed_local_ports);
	refused += guest_report(sink, true, m->added_local_ports, m->n_added_local_ports);
	message_unpack_free(&b, m);
	return refused;
}

int message_guest_open(const struct guest_open *open, struct message *out)
{
	TunnelMessage m = TUNNEL_MESSAGE__INIT;
	char text[ADDR_TEXT_SIZE];

	m.id = message_unconst(open->id);
	m.protocol = message_unconst(open->is_udp ? "udp" : "tcp");
	endpoint_format(&open->guest, text);
	m.guest_addr = text;
	return message_pack(&m.base, out);
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
	message_copy_text(out->id, sizeof(out->id), m->id);
	return parse_guest_addr(m->guest_addr, &out->guest);
}

int message_parse_guest_open(const uint8_t *data, size_t len, struct guest_open *out)
{
	struct message_budget b;
	TunnelMessage *m = message_unpack(&b, &tunnel_message__descriptor, data, len);
	int r;

	if (!m)
		return -EPROTO;
	r = read_guest_open(m, out);
	message_unpack_free(&b, m);
	return r;
}

int message_guest_time(int64_t drift_ms, struct message *out)
{
	TimeSyncResponse m = TIME_SYNC_RESPONSE__INIT;

	m.drift_ms = drift_ms;
	return message_pack(&m.base, out);
}

int message_parse_guest_time(const uint8_t *data, size_t len, int64_t now_ms, int64_t *drift_ms)
{
	struct message_budget b;
	TimeSyncRequest *m = message_unpack(&b, &time_sync_request__descriptor, data, len);
	int r = -EPROTO;

	if (!m)
		return -EPROTO;
	/* far beyond any clock, and what a hostile one could overflow with */
	if (m->host_time && llabs(m->host_time->seconds / 2) < INT32_MAX * 4LL) {
		*drift_ms = now_ms - (m->host_time->seconds * 1000 + m->host_time->nanos / 1000000);
		r = 0;
	}
	message_unpack_free(&b, m);
	return r;
}
