/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shared_network.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "forwarder/options.h"
#include "forwarder/state_dir.h"
#include "netstack/base/log.h"
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

static int check(const struct stack_config *c, const struct shared_options *o, char *error)
{
	const struct stack_shared *shared = &c->shared;
	char addr[ADDR_TEXT_SIZE], network[ADDR_TEXT_SIZE];

	(void)ipaddr_format(&c->network4, network);
	if (!ipaddr_is_any(&o->loopback) && c->prefix4_bits < 16)
		return bad(error, "the network %s/%u: must be /16 or smaller for --loopback",
			   network, c->prefix4_bits);
	if (!is_inside(c, &c->guest4) || (!ipaddr_is_any(&c->last4) && !is_inside(c, &c->last4)))
		return bad(error, "shared.range: must lie in the network %s/%u", network,
			   c->prefix4_bits);
	for (unsigned int i = 0; i < shared->n_guests; i++) {
		if (!ipaddr_is_any(&shared->guests[i].addr) &&
		    !is_inside(c, &shared->guests[i].addr))
			return bad(error,
				   "shared.guests[%u].address is %s: must lie in the network %s/%u",
				   i, ipaddr_format(&shared->guests[i].addr, addr), network,
				   c->prefix4_bits);
	}
	return 0;
}

int shared_network_make(const struct options *options, struct stack_config *out,
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
	set_addresses(&c, options->shared.host_interface || options->shared.host_fd);
	set_policy(&c, &options->shared);
	*out = c;
	return check(&c, &options->shared, error);
}

/* --- where its leases are kept --------------------------------------------- */

/* One network has one file, whatever is on it. */
static void choose_lease_file(struct stack_config *network, char lease_path[static PATH_MAX])
{
	const struct state_env env = state_env_get();
	char name[ADDR_TEXT_SIZE + sizeof("leases-")] = "leases-";
	int r;

	(void)ipaddr_format(&network->network4, name + strlen(name));
	r = state_dir_file(&env, name, lease_path, PATH_MAX);
	if (r == 0)
		network->shared.lease_path = lease_path;
	else
		log_warn("leases end with this process: no place to keep them: %s; choose one with "
			 "--leases FILE",
			 strerror(-r));
}

/* Of many guests one must be named. */
static int check_forwards(const struct options *o)
{
	for (unsigned int i = 0; i < o->n_forwards; i++) {
		const struct forward_spec *f = &o->forwards[i];

		if (!ipaddr_is_any(&f->guest.addr))
			continue;
		log_error("--forward %s:%u:%u: which guest? Name its address: "
			  "%s:%u:192.168.105.16:%u",
			  forward_proto_name(f->proto), f->host.port, f->guest.port,
			  forward_proto_name(f->proto), f->host.port, f->guest.port);
		return -EINVAL;
	}
	return 0;
}

int shared_network_choose(const struct options *options, struct stack_config *out,
			  char lease_path[static PATH_MAX])
{
	char error[SHARED_OPTIONS_ERROR_SIZE];
	int r = check_forwards(options);

	if (r < 0)
		return r;
	r = shared_network_make(options, out, error);
	if (r < 0)
		log_error("%s", error);
	else if (!out->shared.lease_path)
		choose_lease_file(out, lease_path);
	return r;
}
