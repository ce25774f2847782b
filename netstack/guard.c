/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/guard.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "netstack/base/bytes.h"

#define ARP_SENDER_MAC 8U /* from the start of the ARP packet */
#define ICMP4_REDIRECT 5
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define ND_TARGET 8U /* from the start of the ICMPv6 message */
#define ND_OPTIONS 24U
#define ND_OPTION_SOURCE_MAC 1
#define ND_OPTION_TARGET_MAC 2
#define DHCP4_SERVER_PORT 67
#define DHCP6_SERVER_PORT 547

static const char *const verdict_name[] = {
	[GUARD_OK] = "ok",
	[GUARD_SPOOFED_MAC] = "spoofed-mac",
	[GUARD_SPOOFED_ADDRESS] = "spoofed-address",
	[GUARD_ARP_POISON] = "arp-poison",
	[GUARD_ND_POISON] = "nd-poison",
	[GUARD_ROGUE_DHCP] = "rogue-dhcp",
	[GUARD_ROGUE_ROUTER] = "rogue-router",
	[GUARD_BAD_FRAGMENT] = "bad-fragment",
};
static_assert(sizeof(verdict_name) / sizeof(verdict_name[0]) == GUARD_N_VERDICTS, "one name each");

const char *guard_verdict_name(enum guard_verdict verdict)
{
	return verdict_name[verdict];
}

void guard_init(struct guard *g, const struct guard_config *config)
{
	*g = (struct guard){ .config = *config };
	list_init(&g->ports);
}

void guard_add(struct guard *g, struct guard_port *port)
{
	*port = (struct guard_port){ .has_mac = false };
	list_append(&g->ports, &port->node);
}

void guard_remove(struct guard_port *port)
{
	if (port->node.next)
		list_unlink(&port->node);
}

const struct guard_port *guard_find(const struct guard *g, const struct mac *mac)
{
	list_for_each(node, &g->ports) {
		const struct guard_port *port = container_of(node, const struct guard_port, node);

		if (port->has_mac && mac_equal(&port->mac, mac))
			return port;
	}
	return NULL;
}

/* --- whose an address is -------------------------------------------------- */

static struct guard_address *find_address(struct guard_port *port, const struct ipaddr *addr)
{
	for (unsigned int i = 0; i < port->n_addresses; i++) {
		if (ipaddr_equal(&port->addresses[i].addr, addr))
			return &port->addresses[i];
	}
	return NULL;
}

static bool is_of_a_guest(const struct guard_config *c, const struct ipaddr *addr)
{
	for (unsigned int i = 0; i < c->n_reserved; i++) {
		if (ipaddr_equal(addr, &c->reserved[i]))
			return false;
	}
	if (ipaddr_is_v4(addr))
		return ipaddr_in_prefix(addr, &c->network4, 96 + c->prefix4_bits);
	return ipaddr_in_prefix(addr, &c->prefix6, 64) || ipaddr_is_link_local(addr);
}

static bool may_claim(struct guard *g, const struct guard_port *port, const struct ipaddr *addr)
{
	const struct mac *holder;

	if (!is_of_a_guest(&g->config, addr))
		return false;
	holder = g->config.leased_to(g->config.arg, addr);
	if (holder)
		return mac_equal(holder, &port->mac);
	list_for_each(node, &g->ports) {
		struct guard_port *other = container_of(node, struct guard_port, node);

		if (other != port && find_address(other, addr))
			return false;
	}
	return true;
}

static struct guard_address *new_slot(struct guard_port *port)
{
	struct guard_address *oldest = &port->addresses[0];

	if (port->n_addresses < GUARD_ADDRESSES)
		return &port->addresses[port->n_addresses++];
	for (unsigned int i = 1; i < GUARD_ADDRESSES; i++) {
		if (port->addresses[i].seen_ms < oldest->seen_ms)
			oldest = &port->addresses[i];
	}
	return oldest;
}

/* Whether addr is the port's, from now on if it was nobody's. The one used last
 * stays in front: most packets repeat it. */
static bool claim(struct guard *g, struct guard_port *port, const struct ipaddr *addr,
		  uint64_t now_ms)
{
	struct guard_address *a = find_address(port, addr), front;

	if (!a) {
		if (!may_claim(g, port, addr))
			return false;
		a = new_slot(port);
		a->addr = *addr;
	}
	a->seen_ms = now_ms;
	if (a != port->addresses) {
		front = *a;
		*a = port->addresses[0];
		port->addresses[0] = front;
	}
	return true;
}

static bool is_own_mac(const struct guard *g, struct guard_port *port, const struct mac *mac)
{
	if (port->has_mac)
		return mac_equal(&port->mac, mac);
	if (guard_find(g, mac))
		return false;
	port->mac = *mac;
	port->has_mac = true;
	return true;
}

/* --- what is said --------------------------------------------------------- */

static enum guard_verdict check_arp(struct guard *g, struct guard_port *port,
				    const struct packet *p, uint64_t now_ms)
{
	if (memcmp(p->ip + ARP_SENDER_MAC, port->mac.b, sizeof(port->mac.b)) != 0)
		return GUARD_ARP_POISON;
	if (ipaddr_is_any(&p->src.addr)) /* a probe (RFC 5227) */
		return GUARD_OK;
	return claim(g, port, &p->src.addr, now_ms) ? GUARD_OK : GUARD_ARP_POISON;
}

/* Options of link-layer addresses name the sender. */
static bool has_own_mac_only(const struct guard_port *port, const uint8_t *option,
			     const uint8_t *end)
{
	while (end - option >= 8 && option[1]) {
		bool names_mac =
			option[0] == ND_OPTION_SOURCE_MAC || option[0] == ND_OPTION_TARGET_MAC;

		if (names_mac && memcmp(option + 2, port->mac.b, sizeof(port->mac.b)) != 0)
			return false;
		if (end - option < option[1] * (ptrdiff_t)8)
			return false;
		option += (size_t)option[1] * 8;
	}
	return option == end;
}

/* Solicitations and advertisements lie in the frame's first piece as a whole,
 * unless somebody means to hide them. */
static enum guard_verdict check_neighbor(struct guard *g, struct guard_port *port,
					 const struct packet *p, uint64_t now_ms)
{
	size_t len = p->ip_len - p->ip_header_size;
	struct ipaddr target;

	if (len < ND_OPTIONS || len > p->l4_contiguous ||
	    !has_own_mac_only(port, p->l4 + ND_OPTIONS, p->l4 + len))
		return GUARD_ND_POISON;
	target = ipaddr_from_v6(p->l4 + ND_TARGET);
	/* from nobody: it is about to take the address, if nobody has it (RFC 4862,
	 * section 5.4) */
	if (p->l4[0] == ND_SOLICITATION && ipaddr_is_any(&p->src.addr))
		(void)claim(g, port, &target, now_ms);
	if (p->l4[0] == ND_SOLICITATION)
		return GUARD_OK;
	return claim(g, port, &target, now_ms) ? GUARD_OK : GUARD_ND_POISON;
}

static enum guard_verdict check_icmp(struct guard *g, struct guard_port *port,
				     const struct packet *p, uint64_t now_ms)
{
	uint8_t type = p->l4[0];

	if (p->is_v4)
		return type == ICMP4_REDIRECT ? GUARD_ROGUE_ROUTER : GUARD_OK;
	switch (type) {
	case ND_ROUTER_ADVERTISEMENT:
	case ND_REDIRECT:
		return GUARD_ROGUE_ROUTER;
	case ND_SOLICITATION:
	case ND_ADVERTISEMENT:
		return check_neighbor(g, port, p, now_ms);
	default:
		return GUARD_OK;
	}
}

static bool is_server_port(const struct packet *p, uint16_t port)
{
	return port == (p->is_v4 ? DHCP4_SERVER_PORT : DHCP6_SERVER_PORT);
}

/* Of the first fragment of a message; of the later ones nobody can tell, and
 * without the first they are of no use. Neighbour discovery is never fragmented
 * (RFC 6980). */
static enum guard_verdict check_fragment(const struct packet *p)
{
	size_t skip = p->is_v4 ? 0 : 8;
	uint8_t protocol = p->is_v4 ? p->protocol : p->l4[0];
	bool is_first =
		p->is_v4 ? !(get_be16(p->ip + 6) & 0x1fff) : !(get_be16(p->l4 + 2) & 0xfff8);

	if (!is_first)
		return GUARD_OK;
	if (protocol != IP_PROTO_TCP && protocol != IP_PROTO_UDP && protocol != IP_PROTO_ICMP &&
	    protocol != IP_PROTO_ICMP6)
		return p->is_v4 ? GUARD_OK : GUARD_BAD_FRAGMENT; /* an extension header */
	if (p->l4_contiguous < skip + 8)
		return GUARD_BAD_FRAGMENT;
	if (protocol == IP_PROTO_UDP && is_server_port(p, get_be16(p->l4 + skip)))
		return GUARD_ROGUE_DHCP;
	if (protocol == IP_PROTO_ICMP6 && p->l4[skip] >= ND_ROUTER_ADVERTISEMENT - 1 &&
	    p->l4[skip] <= ND_REDIRECT)
		return GUARD_BAD_FRAGMENT;
	return GUARD_OK;
}

/* Duplicate address detection, DHCP and IGMP (RFC 3376, section 4.2.13) come
 * from nobody yet. */
static bool is_anonymous(const struct packet *p)
{
	if (!ipaddr_is_any(&p->src.addr))
		return false;
	if (!p->is_v4)
		return p->kind == PACKET_ICMP;
	return (p->kind == PACKET_UDP && p->dst.port == DHCP4_SERVER_PORT) ||
	       (p->kind == PACKET_OTHER && p->protocol == IP_PROTO_IGMP);
}

static enum guard_verdict check_ip(struct guard *g, struct guard_port *port, const struct packet *p,
				   uint64_t now_ms)
{
	if (!is_anonymous(p) && !claim(g, port, &p->src.addr, now_ms))
		return GUARD_SPOOFED_ADDRESS;
	switch (p->kind) {
	case PACKET_UDP:
		return is_server_port(p, p->src.port) ? GUARD_ROGUE_DHCP : GUARD_OK;
	case PACKET_ICMP:
		return check_icmp(g, port, p, now_ms);
	case PACKET_FRAGMENT:
		return check_fragment(p);
	case PACKET_ARP:
	case PACKET_TCP:
	case PACKET_OTHER:
		break;
	}
	return GUARD_OK;
}

enum guard_verdict guard_check(struct guard *g, struct guard_port *port, const struct packet *p,
			       uint64_t now_ms)
{
	enum guard_verdict verdict = GUARD_SPOOFED_MAC;

	if (is_own_mac(g, port, &p->mac_src))
		verdict = p->kind == PACKET_ARP ? check_arp(g, port, p, now_ms) :
						  check_ip(g, port, p, now_ms);
	if (verdict != GUARD_OK)
		g->refused[verdict]++;
	return verdict;
}
