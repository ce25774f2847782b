/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shared_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/config.h"
#include "forwarder/network_spec.h"

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

static int take_loopback(struct shared_options *o, const struct config_shared *c, char *error)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (c->loopback && ipaddr_is_any(&o->loopback) &&
	    network_spec_parse_loopback(c->loopback, &o->loopback, why) < 0)
		return bad(error, "shared.loopback is \"%.64s\": %s", c->loopback, why);
	if (c->n_loopback_ports > SHARED_OPTIONS_MAX_PORTS)
		return bad(error, "shared.loopbackPorts has %u ports: must be at most %u",
			   c->n_loopback_ports, SHARED_OPTIONS_MAX_PORTS);
	for (unsigned int i = 0; i < c->n_loopback_ports; i++) {
		if (c->loopback_ports[i] < 1 || c->loopback_ports[i] > UINT16_MAX)
			return bad(error, "shared.loopbackPorts[%u] is %d: must be 1 to 65535", i,
				   c->loopback_ports[i]);
		o->ports[i] = (uint16_t)c->loopback_ports[i];
	}
	o->n_ports = c->n_loopback_ports;
	return 0;
}

static int take_guest(struct stack_static_guest *out, const struct config_shared_guest *g,
		      unsigned int i, char *error)
{
	char why[NETWORK_SPEC_ERROR_SIZE];

	if (network_spec_parse_mac(g->mac, &out->mac, why) < 0)
		return bad(error, "shared.guests[%u].mac is \"%.64s\": %s", i, g->mac, why);
	out->addr = IPADDR_V6_ANY;
	if (g->address && (ipaddr_parse(g->address, &out->addr) < 0 || !ipaddr_is_v4(&out->addr)))
		return bad(error, "shared.guests[%u].address is \"%.64s\": must be an IPv4 address",
			   i, g->address);
	out->name = g->name;
	return 0;
}

static int take_guests(struct shared_options *o, const struct config_shared *c, char *error)
{
	o->guests = calloc((size_t)c->n_guests + 1, sizeof(*o->guests));
	if (!o->guests)
		return -ENOMEM;
	for (unsigned int i = 0; i < c->n_guests; i++) {
		const struct config_shared_guest *g = &c->guests[i];
		int r = 0;

		if (g->mac)
			r = take_guest(&o->guests[o->n_guests++], g, i, error);
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
		r = take_loopback(o, c, error);
	if (r == 0)
		r = take_guests(o, c, error);
	return r;
}

void shared_options_deinit(struct shared_options *o)
{
	free(o->guests);
	o->guests = NULL;
}
