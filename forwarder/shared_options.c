/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shared_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/config.h"
#include "forwarder/network_spec.h"
#include "forwarder/options.h"
#include "netstack/stack.h"

#define FIRST_GUEST 16
#define LEASE_S 3600U

__attribute__((format(printf, 2, 3))) static int bad(char *error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(error, SHARED_OPTIONS_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* --- the file ------------------------------------------------------------- */

static int take_range(struct shared_options *o, const char *range, char *error)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (range && network_spec_parse_range(range, &o->first4, &o->last4, why) < 0)
		return bad(error, "shared.range is \"%.64s\": %s", range, why);
	return 0;
}

static int take_ntp(struct shared_options *o, const struct config_shared *c, char *error)
{
	if (c->n_ntp > STACK_MAX_NTP)
		return bad(error, "shared.ntp has %u servers: must be at most %u", c->n_ntp,
			   STACK_MAX_NTP);
	for (unsigned int i = 0; i < c->n_ntp; i++) {
		if (ipaddr_parse(c->ntp[i], &o->ntp[i]) < 0 || !ipaddr_is_v4(&o->ntp[i]))
			return bad(error, "shared.ntp[%u] is \"%.64s\": must be an IPv4 address", i,
				   c->ntp[i]);
	}
	o->n_ntp = c->n_ntp;
	return 0;
}

static int take_search(struct shared_options *o, const struct config_shared *c, char *error)
{
	if (c->n_search > STACK_MAX_SEARCH)
		return bad(error, "shared.search has %u domains: must be at most %u", c->n_search,
			   STACK_MAX_SEARCH);
	for (unsigned int i = 0; i < c->n_search; i++)
		o->search[i] = c->search[i];
	o->n_search = c->n_search;
	return 0;
}

static int take_guest(struct stack_static_guest *out, const struct config_shared_guest *g,
		      unsigned int i, char *error)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (!g->mac || network_spec_parse_mac(g->mac, &out->mac, why) < 0)
		return bad(error, "shared.guests[%u].mac is \"%.64s\": %s", i, g->mac ? g->mac : "",
			   g->mac ? why : "must be given");
	if (!g->address || ipaddr_parse(g->address, &out->addr) < 0 || !ipaddr_is_v4(&out->addr))
		return bad(error, "shared.guests[%u].address is \"%.64s\": must be an IPv4 address",
			   i, g->address ? g->address : "");
	out->name = g->name;
	return 0;
}

static int take_guests(struct shared_options *o, const struct config_shared *c, char *error)
{
	o->guests = calloc((size_t)c->n_guests + 1, sizeof(*o->guests));
	if (!o->guests)
		return -ENOMEM;
	o->n_guests = c->n_guests;
	for (unsigned int i = 0; i < c->n_guests; i++) {
		int r = take_guest(&o->guests[i], &c->guests[i], i, error);

		if (r < 0)
			return r;
	}
	return 0;
}

int shared_options_merge(struct shared_options *o, const struct config_shared *c,
			 char error[static SHARED_OPTIONS_ERROR_SIZE])
{
	int r;

	if (!o->host_interface)
		o->host_interface = c->host_interface;
	if (!o->uplink)
		o->uplink = c->uplink;
	if (!o->leases)
		o->leases = c->leases;
	o->isolate |= c->isolate == RULE_SWITCH_ON;
	o->trust_guests |= c->port_security == RULE_SWITCH_OFF;
	o->lease_s = (uint32_t)c->lease_time;
	r = take_range(o, c->range, error);
	if (r == 0)
		r = take_ntp(o, c, error);
	if (r == 0)
		r = take_search(o, c, error);
	if (r == 0)
		r = take_guests(o, c, error);
	return r;
}

void shared_options_deinit(struct shared_options *o)
{
	free(o->guests);
	o->guests = NULL;
}

/* --- the network ---------------------------------------------------------- */

static struct ipaddr host_of(const struct ipaddr *network, uint8_t number)
{
	struct ipaddr host = *network;

	host.b[15] |= number;
	return host;
}

/* fd00:AABB:CC:DD::/64 of AA.BB.CC.DD: two such networks differ in both families. */
static struct ipaddr prefix_of(const struct ipaddr *network4)
{
	const uint8_t *b = ipaddr_v4_bytes(network4);

	return (struct ipaddr){ { 0xfd, 0, b[0], b[1], 0, b[2], 0, b[3] } };
}

static void set_addresses(struct stack_config *c, bool has_host)
{
	struct stack_shared *shared = &c->shared;
	uint8_t gateway = has_host ? 2 : 1;

	c->prefix6 = prefix_of(&c->network4);
	c->gateway4 = host_of(&c->network4, gateway);
	c->gateway6 = host_of(&c->prefix6, gateway);
	c->dns4 = host_of(&c->network4, 3);
	c->dns6 = host_of(&c->prefix6, 3);
	c->guest4 = host_of(&c->network4, FIRST_GUEST);
	if (has_host) {
		shared->host4 = host_of(&c->network4, 1);
		shared->host6 = host_of(&c->prefix6, 1);
	}
}

static void set_policy(struct stack_config *c, const struct shared_options *o)
{
	struct stack_shared *shared = &c->shared;

	shared->isolate = o->isolate;
	shared->trust_guests = o->trust_guests;
	shared->lease_path = o->leases;
	memcpy(shared->ntp, o->ntp, sizeof(shared->ntp));
	shared->n_ntp = o->n_ntp;
	memcpy(shared->search, o->search, sizeof(shared->search));
	shared->n_search = o->n_search;
	shared->guests = o->guests;
	shared->n_guests = o->n_guests;
	c->lease_s = o->lease_s ? o->lease_s : LEASE_S;
	if (!ipaddr_is_any(&o->first4)) {
		c->guest4 = o->first4;
		c->last4 = o->last4;
	}
}

static bool is_inside(const struct stack_config *c, const struct ipaddr *addr)
{
	return ipaddr_in_prefix(addr, &c->network4, 96 + c->prefix4_bits);
}

static int check(const struct stack_config *c, char *error)
{
	const struct stack_shared *shared = &c->shared;
	char addr[ADDR_TEXT_SIZE], network[ADDR_TEXT_SIZE];

	(void)ipaddr_format(&c->network4, network);
	if (!is_inside(c, &c->guest4) || (!ipaddr_is_any(&c->last4) && !is_inside(c, &c->last4)))
		return bad(error, "shared.range: must lie in the network %s/%u", network,
			   c->prefix4_bits);
	for (unsigned int i = 0; i < shared->n_guests; i++) {
		if (!is_inside(c, &shared->guests[i].addr))
			return bad(error,
				   "shared.guests[%u].address is %s: must lie in the network %s/%u",
				   i, ipaddr_format(&shared->guests[i].addr, addr), network,
				   c->prefix4_bits);
	}
	return 0;
}

int shared_options_network(const struct options *options, struct stack_config *out,
			   char error[static SHARED_OPTIONS_ERROR_SIZE])
{
	struct stack_config c = stack_config_default();

	c.is_shared = true;
	c.mtu = options->mtu;
	c.host_loopback = options->host_loopback;
	c.network4 = (struct ipaddr)IPADDR_V4(192, 168, 105, 0);
	c.prefix4_bits = 24;
	if (options->prefix4_bits) {
		c.network4 = options->network4;
		c.prefix4_bits = options->prefix4_bits;
	}
	set_addresses(&c, options->shared.host_interface != NULL);
	set_policy(&c, &options->shared);
	*out = c;
	return check(&c, error);
}
