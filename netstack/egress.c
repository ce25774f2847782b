/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/egress.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "netstack/checksum.h"
#include "netstack/neighbor.h"
#include "netstack/packet.h"
#include "netstack/segment.h"

#define IP4_SIZE 20U
#define IP6_SIZE 40U
#define FRAGMENT_SIZE 8U
#define UDP_SIZE 8U

struct egress {
	struct loop *loop;
	struct segment *segment;
	struct egress_config config;
	struct neighbors neighbors;
	struct ipaddr last_ip; /* the last one learnt: most packets repeat it */
	struct mac last_mac;
	uint64_t last_ms;
	struct timer *retry;
	uint32_t next_id; /* of fragmented datagrams */
	struct egress_counters counters;
};

const struct ipaddr *egress_gateway(const struct egress *e, bool v4)
{
	return v4 ? &e->config.gateway4 : &e->config.gateway6;
}

struct mac egress_mac(const struct egress *e, bool v4)
{
	const uint8_t *tail = v4 ? ipaddr_v4_bytes(&e->config.gateway4) : e->config.gateway6.b + 12;

	/* as libslirp makes them, so that guests see one MAC per address */
	return (struct mac){ { 0x52, v4 ? 0x55 : 0x56, tail[0], tail[1], tail[2], tail[3] } };
}

/* --- finding MAC addresses ----------------------------------------------- */

static void ask_arp(struct egress *e, const struct ipaddr *sender, const struct ipaddr *ip)
{
	static const struct mac broadcast = { { 255, 255, 255, 255, 255, 255 } };
	struct mac mac = egress_mac(e, true);
	uint8_t packet[ETH_HEADER_SIZE + 28] = { 0 };
	uint8_t *arp = packet + ETH_HEADER_SIZE;
	struct frame frame;

	packet_put_ethernet(packet, &broadcast, &mac, ETHERTYPE_ARP_);
	put_be16(arp, 1);
	put_be16(arp + 2, ETHERTYPE_IP4);
	arp[4] = 6;
	arp[5] = 4;
	put_be16(arp + 6, 1); /* request */
	memcpy(arp + 8, mac.b, 6);
	memcpy(arp + 14, ipaddr_v4_bytes(sender), 4);
	memcpy(arp + 24, ipaddr_v4_bytes(ip), 4);
	frame_init(&frame);
	frame_add(&frame, packet, sizeof(packet));
	(void)segment_send(e->segment, &frame);
}

/* Neighbour solicitation, RFC 4861 section 4.3. */
static void ask_nd(struct egress *e, const struct ipaddr *ip)
{
	struct ipaddr group = { { 0xff, 2, [11] = 1, 0xff, ip->b[13], ip->b[14], ip->b[15] } };
	struct mac group_mac = { { 0x33, 0x33, 0xff, ip->b[13], ip->b[14], ip->b[15] } };
	struct mac mac = egress_mac(e, false);
	uint8_t packet[ETH_HEADER_SIZE + IP6_SIZE + 32] = { 0 };
	uint8_t *icmp = packet + ETH_HEADER_SIZE + IP6_SIZE;
	struct ip_fields fields = {
		.src = &e->config.gateway6,
		.dst = &group,
		.protocol = IP_PROTO_ICMP6,
		.payload_len = 32,
	};
	struct frame frame;
	uint16_t sum;

	packet_put_ethernet(packet, &group_mac, &mac, ETHERTYPE_IP6);
	packet_put_ip(packet + ETH_HEADER_SIZE, &fields);
	packet[ETH_HEADER_SIZE + 7] = 255; /* hop limit: never routed */
	icmp[0] = 135;
	memcpy(icmp + 8, ip->b, 16);
	icmp[24] = 1; /* option: source link-layer address, 8 bytes */
	icmp[25] = 1;
	memcpy(icmp + 26, mac.b, 6);
	sum = checksum_finish(checksum_add(
		checksum_pseudo(&e->config.gateway6, &group, IP_PROTO_ICMP6, 32), icmp, 32));
	memcpy(icmp + 2, &sum, 2);
	frame_init(&frame);
	frame_add(&frame, packet, sizeof(packet));
	(void)segment_send(e->segment, &frame);
}

static void ask(struct egress *e, const struct ipaddr *ip)
{
	if (ipaddr_is_v4(ip))
		ask_arp(e, &e->config.gateway4, ip);
	else
		ask_nd(e, ip);
	segment_flush(e->segment);
}

void egress_probe(struct egress *e, const struct ipaddr *ip)
{
	static const struct ipaddr nobody = IPADDR_V4(0, 0, 0, 0);

	ask_arp(e, &nobody, ip);
	segment_flush(e->segment);
}

static void on_retry(void *arg)
{
	struct egress *e = arg;
	const struct ipaddr *ip;
	unsigned int at = 0;
	bool gone, any = false;

	while ((ip = neighbors_retry(&e->neighbors, &at, &gone))) {
		struct ipaddr copy = *ip;

		if (gone) {
			e->config.owner->unreachable(e->config.arg, &copy);
			continue;
		}
		any = true;
		ask(e, &copy);
	}
	if (any)
		timer_start(e->retry, NEIGHBOR_ASK_MS);
}

void egress_learn(struct egress *e, const struct ipaddr *ip, const struct mac *mac)
{
	uint64_t now = loop_now_ms(e->loop);

	if (now - e->last_ms < 1000 && ipaddr_equal(ip, &e->last_ip) &&
	    mac_equal(mac, &e->last_mac))
		return;
	e->last_ip = *ip;
	e->last_mac = *mac;
	e->last_ms = now;
	if (neighbors_learn(&e->neighbors, ip, mac, now))
		e->config.owner->resolved(e->config.arg);
}

static const struct mac *resolve(struct egress *e, const struct ipaddr *ip)
{
	const struct mac *mac = neighbors_find(&e->neighbors, ip);

	if (mac)
		return mac;
	if (neighbors_ask(&e->neighbors, ip)) {
		ask(e, ip);
		if (!timer_is_running(e->retry))
			timer_start(e->retry, NEIGHBOR_ASK_MS);
	}
	return NULL;
}

const struct mac *egress_find(const struct egress *e, const struct ipaddr *ip)
{
	return neighbors_find(&e->neighbors, ip);
}

struct link_caps egress_caps(const struct egress *e, const struct ipaddr *ip)
{
	return segment_caps(e->segment, neighbors_find(&e->neighbors, ip));
}

/* --- sending ------------------------------------------------------------- */

static int send_to_mac(struct egress *e, const struct mac *mac, struct frame *frame, bool v4)
{
	struct mac own = egress_mac(e, v4);

	packet_put_ethernet(frame->refs[0].iov_base, mac, &own, v4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	return segment_send(e->segment, frame);
}

int egress_send(struct egress *e, const struct ipaddr *to, struct frame *frame)
{
	const struct mac *mac;

	if (!segment_is_up(e->segment))
		return -EAGAIN; /* the guest may come back; TCP waits */
	mac = resolve(e, to);
	if (!mac)
		return -EAGAIN;
	return send_to_mac(e, mac, frame, ipaddr_is_v4(to));
}

/* An IP payload of scattered pieces that is to become one packet or many. */
struct message {
	const struct mac *mac;
	struct ip_fields ip;
	const struct iovec *iov;
	int n;
	size_t len;
	size_t mtu;
	/* of a packet that is a fragment already: where it belongs */
	uint32_t id;
	size_t offset;
	bool has_more;
};

static void add_slice(struct frame *f, const struct message *m, size_t offset, size_t len)
{
	for (int i = 0; i < m->n && len; i++) {
		size_t have = m->iov[i].iov_len, n;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		n = have - offset < len ? have - offset : len;
		frame_add(f, (uint8_t *)m->iov[i].iov_base + offset, n);
		len -= n;
		offset = 0;
	}
}

static int send_fragment(struct egress *e, const struct message *m, size_t offset, size_t len)
{
	uint8_t headers[ETH_HEADER_SIZE + IP6_SIZE + FRAGMENT_SIZE] = { 0 };
	bool v4 = ipaddr_is_v4(m->ip.src);
	bool is_last = offset + len == m->len && !m->has_more;
	size_t where = m->offset + offset;
	struct ip_fields ip = m->ip;
	unsigned int size = ETH_HEADER_SIZE;
	struct frame frame;

	if (v4) {
		ip.id = (uint16_t)m->id;
		ip.fragment = (uint16_t)(where / 8 | (is_last ? 0 : 0x2000U));
		ip.payload_len = (uint16_t)len;
		size += packet_put_ip(headers + size, &ip);
	} else {
		ip.protocol = IP_PROTO_FRAGMENT;
		ip.payload_len = (uint16_t)(len + FRAGMENT_SIZE);
		size += packet_put_ip(headers + size, &ip);
		headers[size] = m->ip.protocol;
		put_be16(headers + size + 2, (uint16_t)(where | (is_last ? 0 : 1)));
		put_be32(headers + size + 4, m->id);
		size += FRAGMENT_SIZE;
	}
	frame_init(&frame);
	frame_add(&frame, headers, size);
	add_slice(&frame, m, offset, len);
	return send_to_mac(e, m->mac, &frame, v4);
}

static int send_fragments(struct egress *e, const struct message *m)
{
	size_t headers = ipaddr_is_v4(m->ip.src) ? IP4_SIZE : IP6_SIZE + FRAGMENT_SIZE;
	size_t most = (m->mtu - headers) & ~(size_t)7;

	for (size_t offset = 0; offset < m->len; offset += most) {
		size_t len = m->len - offset < most ? m->len - offset : most;
		int r = send_fragment(e, m, offset, len);

		if (r < 0)
			return r; /* the rest would be of no use */
	}
	return 0;
}

static int count_drop(struct egress *e, int r)
{
	if (r < 0)
		e->counters.blocked++;
	return r;
}

/* The transport header is iov[0], its checksum field not yet right: done by the
 * link if it can and the datagram stays whole, else here. */
static int send_udp_message(struct egress *e, struct message *m)
{
	bool v4 = ipaddr_is_v4(m->ip.src);
	unsigned int ip_size = v4 ? IP4_SIZE : IP6_SIZE;
	uint64_t sum = checksum_pseudo(m->ip.src, m->ip.dst, IP_PROTO_UDP, m->len);
	uint8_t *udp = m->iov[0].iov_base;
	uint8_t headers[ETH_HEADER_SIZE + IP6_SIZE + UDP_SIZE];
	struct frame frame;
	uint16_t field;

	if (m->len + ip_size > m->mtu) {
		field = checksum_finish(checksum_iov(sum, m->iov, m->n, 0));
		if (field == 0)
			field = 0xffff;
		memcpy(udp + 6, &field, 2);
		m->id = ++e->next_id;
		return send_fragments(e, m);
	}
	field = checksum_fold(sum);
	memcpy(udp + 6, &field, 2);
	m->ip.payload_len = (uint16_t)m->len;
	m->ip.id = (uint16_t)++e->next_id;
	packet_put_ip(headers + ETH_HEADER_SIZE, &m->ip);
	memcpy(headers + ETH_HEADER_SIZE + ip_size, udp, UDP_SIZE);
	frame_init(&frame);
	frame_add(&frame, headers, ETH_HEADER_SIZE + ip_size + UDP_SIZE);
	add_slice(&frame, m, UDP_SIZE, m->len - UDP_SIZE);
	frame.offload.csum_partial = true;
	frame.offload.csum_start = (uint16_t)(ETH_HEADER_SIZE + ip_size);
	frame.offload.csum_offset = 6;
	return send_to_mac(e, m->mac, &frame, v4);
}

static int send_udp(struct egress *e, const struct mac *mac, const struct endpoint *from,
		    const struct endpoint *to, struct message *m)
{
	uint8_t *udp = m->iov[0].iov_base;

	m->mac = mac;
	m->mtu = segment_caps(e->segment, mac).mtu;
	put_be16(udp, from->port);
	put_be16(udp + 2, to->port);
	put_be16(udp + 4, (uint16_t)m->len);
	return count_drop(e, send_udp_message(e, m));
}

int egress_send_udp(struct egress *e, const struct endpoint *from, const struct endpoint *to,
		    const struct iovec *iov, int n)
{
	uint8_t udp[UDP_SIZE] = { 0 };
	struct iovec pieces[1 + EGRESS_MAX_PIECES] = { { udp, sizeof(udp) } };
	struct message m = {
		.ip = { .src = &from->addr, .dst = &to->addr, .protocol = IP_PROTO_UDP },
		.iov = pieces,
		.n = 1 + n,
		.len = UDP_SIZE,
	};
	const struct mac *mac;

	assert(n <= EGRESS_MAX_PIECES);
	for (int i = 0; i < n; i++) {
		pieces[1 + i] = iov[i];
		m.len += iov[i].iov_len;
	}
	if (m.len > 65535U - (ipaddr_is_v4(&from->addr) ? IP4_SIZE : 0))
		return -EMSGSIZE;
	mac = resolve(e, &to->addr);
	if (!mac) {
		e->counters.unresolved++;
		return -EAGAIN;
	}
	return send_udp(e, mac, from, to, &m);
}

int egress_send_udp_to(struct egress *e, const struct mac *mac, const struct endpoint *from,
		       const struct endpoint *to, const struct iovec *iov)
{
	uint8_t udp[UDP_SIZE] = { 0 };
	struct iovec pieces[2] = { { udp, sizeof(udp) }, *iov };
	struct message m = {
		.ip = { .src = &from->addr, .dst = &to->addr, .protocol = IP_PROTO_UDP },
		.iov = pieces,
		.n = 2,
		.len = UDP_SIZE + iov->iov_len,
	};

	return send_udp(e, mac, from, to, &m);
}

int egress_send_whole(struct egress *e, struct frame *frame)
{
	uint8_t *eth = frame->refs[0].iov_base;
	struct ipaddr src, dst;
	struct mac mac;
	struct message m = { .n = 1 };
	struct iovec payload;
	unsigned int ip_size;
	uint8_t *ip = eth + ETH_HEADER_SIZE;

	memcpy(mac.b, eth, 6);
	m.mtu = segment_caps(e->segment, &mac).mtu;
	if (frame->len <= m.mtu + ETH_HEADER_SIZE)
		return count_drop(e, segment_send(e->segment, frame));
	assert(frame->n_refs == 1);
	if (get_be16(eth + 12) == ETHERTYPE_IP4) {
		ip_size = (ip[0] & 15U) * 4;
		m.id = get_be16(ip + 4);
		m.offset = (size_t)(get_be16(ip + 6) & 0x1fffU) * 8;
		m.has_more = get_be16(ip + 6) & 0x2000;
		src = ipaddr_from_v4(ip + 12);
		dst = ipaddr_from_v4(ip + 16);
		m.ip.protocol = ip[9];
	} else {
		ip_size = IP6_SIZE;
		m.id = ++e->next_id;
		src = ipaddr_from_v6(ip + 8);
		dst = ipaddr_from_v6(ip + 24);
		m.ip.protocol = ip[6];
	}
	payload = (struct iovec){ ip + ip_size, frame->len - ETH_HEADER_SIZE - ip_size };
	m.mac = &mac;
	m.ip.src = &src;
	m.ip.dst = &dst;
	m.iov = &payload;
	m.len = payload.iov_len;
	return count_drop(e, send_fragments(e, &m));
}

const struct egress_counters *egress_counters(const struct egress *e)
{
	return &e->counters;
}

int egress_new(struct loop *loop, struct segment *segment, const struct egress_config *config,
	       struct egress **out)
{
	struct egress *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (e)
		r = timer_new(loop, on_retry, e, &e->retry);
	if (r < 0) {
		free(e);
		return r;
	}
	e->loop = loop;
	e->segment = segment;
	e->config = *config;
	*out = e;
	return 0;
}

void egress_free(struct egress *e)
{
	if (!e)
		return;
	timer_free(e->retry);
	free(e);
}
