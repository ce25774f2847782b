/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/guests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"
#include "netstack/base/log.h"
#include "netstack/dhcp6_server.h"
#include "netstack/dhcp_server.h"
#include "netstack/egress.h"
#include "netstack/guard.h"

/* libslirp's, which advertises the network */
static const struct ipaddr router6 = { { 0xfe, 0x80, [15] = 2 } };

struct guests {
	struct egress *egress;
	struct stack_config config;
	struct dhcp_server *dhcp;
	struct dhcp6_server *dhcp6;
	struct lease_table *leases; /* of dhcp */
	struct guard guard;
	void (*changed)(void *arg);
	void *changed_arg;
};

/* --- the DHCP server's owner ---------------------------------------------- */

static void on_reply(void *arg, const struct dhcp_destination *to, const void *message, size_t len)
{
	const struct guests *g = arg;
	const struct endpoint from = { g->config.gateway4, DHCP_SERVER_PORT };
	const struct endpoint client = { to->addr, DHCP_CLIENT_PORT };
	const struct iovec iov = { (void *)(uintptr_t)message, len };

	(void)egress_send_udp_to(g->egress, &to->mac, &from, &client, &iov); /* counted there */
}

static void on_probe(void *arg, const struct ipaddr *addr)
{
	const struct guests *g = arg;

	egress_probe(g->egress, addr);
}

static const char *on_name(void *arg, const struct mac *mac)
{
	const struct guests *g = arg;
	const struct stack_shared *shared = &g->config.shared;

	for (unsigned int i = 0; i < shared->n_guests; i++) {
		if (mac_equal(&shared->guests[i].mac, mac))
			return shared->guests[i].name;
	}
	return NULL;
}

static void on_changed(void *arg)
{
	const struct guests *g = arg;

	if (g->changed)
		g->changed(g->changed_arg);
}

static const struct dhcp_server_owner dhcp_owner = {
	.reply = on_reply,
	.probe = on_probe,
	.name = on_name,
	.changed = on_changed,
};

/* --- the DHCPv6 server's -------------------------------------------------- */

struct ipaddr guests_address6(const struct guests *g, const struct ipaddr *addr4)
{
	struct ipaddr addr6 = g->config.prefix6;

	memcpy(addr6.b + 12, ipaddr_v4_bytes(addr4), 4);
	return addr6;
}

/* The IPv4 address that an address of guests_address6() was made of; else any. */
static struct ipaddr number_of_address6(const struct guests *g, const struct ipaddr *addr6)
{
	struct ipaddr addr4 = ipaddr_from_v4(addr6->b + 12);
	struct ipaddr made = guests_address6(g, &addr4);

	return ipaddr_equal(&made, addr6) ? addr4 : IPADDR_V6_ANY;
}

static int on_address6(void *arg, const struct mac *mac, const char *name, bool is_taken,
		       struct ipaddr *out)
{
	const struct guests *g = arg;
	struct ipaddr addr4;
	int r = dhcp_server_hold(g->dhcp, mac, name, is_taken, &addr4);

	if (r == 0)
		*out = guests_address6(g, &addr4);
	return r;
}

static void on_reply6(void *arg, const struct mac *mac, const struct ipaddr *to,
		      const void *message, size_t len)
{
	const struct guests *g = arg;
	const struct endpoint from = { router6, DHCP6_SERVER_PORT };
	const struct endpoint client = { *to, DHCP6_CLIENT_PORT };
	const struct iovec iov = { (void *)(uintptr_t)message, len };

	(void)egress_send_udp_to(g->egress, mac, &from, &client, &iov); /* counted there */
}

static const struct dhcp6_server_owner dhcp6_owner = {
	.address = on_address6,
	.reply = on_reply6,
};

/* --- the guard's ---------------------------------------------------------- */

static const struct mac *on_leased_to(void *arg, const struct ipaddr *addr)
{
	const struct guests *g = arg;
	struct ipaddr addr4 = ipaddr_is_v4(addr) ? *addr : number_of_address6(g, addr);
	const struct lease *lease = lease_of_address(g->leases, &addr4);

	return lease && lease->state != LEASE_DECLINED ? &lease->client.mac : NULL;
}

/* --- names ---------------------------------------------------------------- */

static bool is_host_name(const char *name)
{
	return strcmp(name, "host." GUESTS_DOMAIN) == 0 || strcmp(name, "host.lima.internal") == 0;
}

/* The host's own address, or else the gateway, which stands for it. */
static const struct ipaddr *host_address(const struct guests *g, bool v4)
{
	const struct stack_shared *shared = &g->config.shared;

	if (!ipaddr_is_any(&shared->host4))
		return v4 ? &shared->host4 : &shared->host6;
	return v4 ? &g->config.gateway4 : &g->config.gateway6;
}

/* The address in our prefix that a guest was seen with last. */
static const struct ipaddr *find_v6(const struct guests *g, const struct mac *mac)
{
	const struct guard_port *port = guard_find(&g->guard, mac);
	const struct guard_address *newest = NULL;

	for (unsigned int i = 0; port && i < port->n_addresses; i++) {
		const struct guard_address *a = &port->addresses[i];

		if (!ipaddr_is_v4(&a->addr) && ipaddr_in_prefix(&a->addr, &g->config.prefix6, 64) &&
		    (!newest || a->seen_ms > newest->seen_ms))
			newest = a;
	}
	return newest ? &newest->addr : NULL;
}

static void answer_address(struct dns_answer *answer, const struct ipaddr *addr)
{
	answer->has_address = addr != NULL;
	if (addr)
		answer->address = *addr;
}

static bool know_host(const struct guests *g, const struct dns_question *q,
		      struct dns_answer *answer)
{
	if (q->type == DNS_TYPE_A || q->type == DNS_TYPE_AAAA)
		answer_address(answer, host_address(g, q->type == DNS_TYPE_A));
	return true;
}

/* LABEL.netfwd.internal: of nobody else's business. */
static bool know_guest(const struct guests *g, const struct dns_question *q,
		       struct dns_answer *answer)
{
	size_t len = strcspn(q->name, ".");
	char label[LEASE_NAME_SIZE];
	const struct lease *lease;

	if (strcmp(q->name + len, "." GUESTS_DOMAIN) != 0)
		return false;
	(void)snprintf(label, sizeof(label), "%.*s", (int)len, q->name);
	lease = len < sizeof(label) ? lease_of_name(g->leases, label) : NULL;
	if (!lease)
		answer->rcode = DNS_RCODE_NXDOMAIN;
	else if (q->type == DNS_TYPE_A)
		answer_address(answer, &lease->addr);
	else if (q->type == DNS_TYPE_AAAA)
		answer_address(answer, find_v6(g, &lease->client.mac));
	return true;
}

static bool is_of_network(const struct guests *g, const struct ipaddr *addr)
{
	if (ipaddr_is_v4(addr))
		return ipaddr_in_prefix(addr, &g->config.network4, 96 + g->config.prefix4_bits);
	return ipaddr_in_prefix(addr, &g->config.prefix6, 64);
}

static const char *name_of_address(const struct guests *g, const struct ipaddr *addr)
{
	const struct lease *lease = NULL;

	if (ipaddr_equal(addr, host_address(g, ipaddr_is_v4(addr))))
		return "host";
	if (ipaddr_is_v4(addr))
		lease = lease_of_address(g->leases, addr);
	for (unsigned int i = 0; !ipaddr_is_v4(addr) && !lease && i < g->leases->n; i++) {
		const struct lease *l = &g->leases->leases[i];
		const struct ipaddr *v6 = find_v6(g, &l->client.mac);

		if (v6 && ipaddr_equal(v6, addr))
			lease = l;
	}
	return lease ? lease->name : "";
}

static bool know_reverse(const struct guests *g, const struct dns_question *q,
			 struct dns_answer *answer)
{
	struct ipaddr addr;
	const char *name;

	if (!dns_parse_reverse(q->name, &addr) || !is_of_network(g, &addr))
		return false;
	name = name_of_address(g, &addr);
	if (!*name)
		answer->rcode = DNS_RCODE_NXDOMAIN;
	answer->has_name = *name && q->type == DNS_TYPE_PTR;
	(void)snprintf(answer->name, sizeof(answer->name), "%s.%s", name, GUESTS_DOMAIN);
	return true;
}

bool guests_know(const struct guests *g, const struct dns_question *q, struct dns_answer *answer)
{
	return (is_host_name(q->name) && know_host(g, q, answer)) || know_guest(g, q, answer) ||
	       know_reverse(g, q, answer);
}

void guests_on_change(struct guests *g, void (*changed)(void *arg), void *arg)
{
	g->changed = changed;
	g->changed_arg = arg;
}

/* --- the rest ------------------------------------------------------------- */

struct guard *guests_guard(struct guests *g)
{
	return g->config.is_shared && !g->config.shared.trust_guests ? &g->guard : NULL;
}

void guests_receive_dhcp(struct guests *g, const struct mac *from, const uint8_t *message,
			 size_t len)
{
	dhcp_server_receive(g->dhcp, from, message, len);
}

void guests_receive_dhcp6(struct guests *g, const struct mac *from, const struct ipaddr *addr,
			  const uint8_t *message, size_t len)
{
	dhcp6_server_receive(g->dhcp6, from, addr, message, len);
}

void guests_saw(struct guests *g, const struct ipaddr *addr, const struct mac *mac)
{
	dhcp_server_saw(g->dhcp, addr, mac);
}

int guests_assign(struct guests *g, const struct mac *mac, const char *name, struct ipaddr *addr4)
{
	return dhcp_server_assign(g->dhcp, mac, name, addr4);
}

const struct dhcp_server_counters *guests_dhcp_counters(const struct guests *g)
{
	return dhcp_server_counters(g->dhcp);
}

const struct dhcp6_server_counters *guests_dhcp6_counters(const struct guests *g)
{
	return dhcp6_server_counters(g->dhcp6);
}

static void add_address(struct guest_entry *e, const struct ipaddr *addr)
{
	for (unsigned int i = 0; i < e->n_addresses; i++) {
		if (ipaddr_equal(&e->addresses[i], addr))
			return;
	}
	if (e->n_addresses < GUESTS_MAX_ADDRESSES)
		e->addresses[e->n_addresses++] = *addr;
}

static void add_seen(struct guest_entry *e, const struct guard_port *port)
{
	for (unsigned int i = 0; i < port->n_addresses; i++) {
		if (!ipaddr_is_link_local(&port->addresses[i].addr))
			add_address(e, &port->addresses[i].addr);
	}
}

static void list_leases(const struct guests *g,
			void (*fn)(void *arg, const struct guest_entry *entry), void *arg)
{
	for (unsigned int i = 0; i < g->leases->n; i++) {
		const struct lease *l = &g->leases->leases[i];
		const struct guard_port *port = guard_find(&g->guard, &l->client.mac);
		struct guest_entry e = { .name = l->name, .mac = l->client.mac };

		if (l->state != LEASE_BOUND)
			continue;
		e.lease_until_s = l->is_static ? UINT64_MAX : l->until_s;
		add_address(&e, &l->addr);
		if (port)
			add_seen(&e, port);
		fn(arg, &e);
	}
}

static bool has_lease(const struct guests *g, const struct mac *mac)
{
	for (unsigned int i = 0; i < g->leases->n; i++) {
		if (g->leases->leases[i].state == LEASE_BOUND &&
		    mac_equal(&g->leases->leases[i].client.mac, mac))
			return true;
	}
	return false;
}

void guests_for_each(const struct guests *g, void (*fn)(void *arg, const struct guest_entry *entry),
		     void *arg)
{
	list_leases(g, fn, arg);
	list_for_each(node, &g->guard.ports) {
		const struct guard_port *port = container_of(node, const struct guard_port, node);
		struct guest_entry e = { .name = "", .mac = port->mac };

		if (!port->has_mac || has_lease(g, &port->mac))
			continue;
		add_seen(&e, port);
		fn(arg, &e);
	}
}

/* --- life ----------------------------------------------------------------- */

static struct ipaddr last_of_network(const struct stack_config *c)
{
	uint32_t hosts = ~(~0U << (32 - c->prefix4_bits));
	uint8_t bytes[4];

	put_be32(bytes, (get_be32(ipaddr_v4_bytes(&c->network4)) | hosts) - 1);
	return ipaddr_from_v4(bytes);
}

static int fill_settings(struct dhcp_settings *s, const struct stack_config *c)
{
	const struct stack_shared *shared = &c->shared;
	int r = 0;

	*s = (struct dhcp_settings){
		.server = c->gateway4,
		.router = c->gateway4,
		.dns = c->dns4,
		.prefix_bits = c->prefix4_bits,
		.mtu = c->mtu,
		.lease_s = c->lease_s,
		.domain = c->is_shared ? GUESTS_DOMAIN : NULL,
	};
	if (!c->is_shared)
		return 0;
	for (unsigned int i = 0; i < shared->n_ntp; i++)
		s->ntp[s->n_ntp++] = shared->ntp[i];
	if (shared->n_search)
		r = dhcp_add_search(s, GUESTS_DOMAIN);
	for (unsigned int i = 0; r == 0 && i < shared->n_search; i++) {
		r = dhcp_add_search(s, shared->search[i]);
		if (r < 0)
			log_error("search domain \"%s\": %s", shared->search[i],
				  r == -ENOSPC ? "too many, or too long" : "not a name");
	}
	return r;
}

static int start_dhcp(struct guests *g, struct loop *loop)
{
	const struct stack_config *c = &g->config;
	struct dhcp_server_config config = {
		.range = { c->guest4, ipaddr_is_any(&c->last4) ? last_of_network(c) : c->last4 },
		.path = c->is_shared ? c->shared.lease_path : NULL,
		.probes = c->is_shared,
		.owner = &dhcp_owner,
		.arg = g,
	};
	int r = fill_settings(&config.settings, c);

	if (r == 0)
		r = dhcp_server_new(loop, &config, &g->dhcp);
	if (r < 0)
		return r;
	g->leases = dhcp_server_leases(g->dhcp);
	lease_reserve(g->leases, &c->gateway4);
	lease_reserve(g->leases, &c->dns4);
	if (!ipaddr_is_any(&c->shared.host4))
		lease_reserve(g->leases, &c->shared.host4);
	return 0;
}

/* A DUID of the gateway's MAC (RFC 8415, section 11.4), so the same at each start. */
static struct dhcp6_duid own_duid(const struct guests *g)
{
	struct dhcp6_duid duid = { .bytes = { 0, 3, 0, 1 }, .len = 10 };
	struct mac mac = egress_mac(g->egress, false);

	memcpy(duid.bytes + 4, mac.b, sizeof(mac.b));
	return duid;
}

static int start_dhcp6(struct guests *g, struct loop *loop)
{
	const struct stack_config *c = &g->config;
	struct dhcp6_server_config config = {
		.settings = { .server = own_duid(g), .dns = c->dns6, .lease_s = c->lease_s },
		.prefix = c->prefix6,
		.owner = &dhcp6_owner,
		.arg = g,
	};
	struct dhcp_settings v4;
	int r = fill_settings(&v4, c);

	if (r == 0 && c->is_shared && v4.search_len == 0)
		r = dhcp_add_search(&v4, GUESTS_DOMAIN); /* there is no option of a domain */
	if (r < 0)
		return r;
	memcpy(config.settings.search, v4.search, v4.search_len);
	config.settings.search_len = v4.search_len;
	return dhcp6_server_new(loop, &config, &g->dhcp6);
}

static int add_static(struct guests *g, const struct stack_static_guest *s)
{
	const char *name = s->name ? s->name : "";
	char addr[ADDR_TEXT_SIZE];
	int r = lease_add_static(g->leases, &s->mac, &s->addr, name);

	if (r < 0)
		log_error("the lease of %s %s: %s", ipaddr_format(&s->addr, addr), name,
			  r == -EEXIST ? "its address, MAC or name is another's" :
			  r == -EINVAL ? "the name is not a host name" :
					 strerror(-r));
	return r;
}

static int load_leases(struct guests *g)
{
	const struct stack_shared *shared = &g->config.shared;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < shared->n_guests; i++) {
		if (!ipaddr_is_any(&shared->guests[i].addr))
			r = add_static(g, &shared->guests[i]);
	}
	if (r < 0 || !g->config.is_shared)
		return r;
	r = dhcp_server_load(g->dhcp);
	if (r < 0)
		log_error("%s: the leases cannot be read: %s", shared->lease_path, strerror(-r));
	return r;
}

static void reserve(struct guard_config *c, const struct ipaddr *addr)
{
	if (!ipaddr_is_any(addr))
		c->reserved[c->n_reserved++] = *addr;
}

static void start_guard(struct guests *g)
{
	const struct stack_config *c = &g->config;
	struct guard_config config = {
		.network4 = c->network4,
		.prefix4_bits = c->prefix4_bits,
		.prefix6 = c->prefix6,
		.leased_to = on_leased_to,
		.arg = g,
	};
	struct ipaddr broadcast = last_of_network(c);

	broadcast.b[15]++; /* the network has more than one address: no carry */
	reserve(&config, &c->network4);
	reserve(&config, &broadcast);
	reserve(&config, &c->gateway4);
	reserve(&config, &c->gateway6);
	reserve(&config, &c->dns4);
	reserve(&config, &c->dns6);
	reserve(&config, &router6);
	reserve(&config, &c->shared.host4);
	reserve(&config, &c->shared.host6);
	guard_init(&g->guard, &config);
}

int guests_new(struct loop *loop, struct egress *egress, const struct stack_config *config,
	       struct guests **out)
{
	struct guests *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->egress = egress;
	g->config = *config;
	start_guard(g);
	r = start_dhcp(g, loop);
	if (r == 0)
		r = start_dhcp6(g, loop);
	if (r == 0)
		r = load_leases(g);
	if (r < 0) {
		guests_free(g);
		return r;
	}
	*out = g;
	return 0;
}

void guests_free(struct guests *g)
{
	if (!g)
		return;
	dhcp6_server_free(g->dhcp6);
	dhcp_server_free(g->dhcp);
	free(g);
}
