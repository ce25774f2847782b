/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp6_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/base/log.h"
#include "netstack/base/loop.h"

/* An address that somebody else uses is left alone for so long; of so many guests,
 * the one that declined first has to do so again. */
#define DECLINED_MS (LEASE_DECLINED_S * UINT64_C(1000))
#define MAX_DECLINED LEASE_MAX_DECLINED

struct declined {
	struct mac mac;
	uint64_t until_ms; /* 0: free */
};

struct dhcp6_server {
	struct loop *loop;
	struct dhcp6_server_config config;
	struct declined declined[MAX_DECLINED];
	struct dhcp6_server_counters counters;
};

/* A message that is being answered. */
struct exchange {
	struct dhcp6_server *server;
	const struct mac *mac;
	const struct ipaddr *from;
	struct dhcp6_request request;
};

static void answer(const struct exchange *x, const struct dhcp6_reply *reply)
{
	const struct dhcp6_server_config *c = &x->server->config;
	uint8_t message[DHCP6_REPLY_MAX];
	size_t len = dhcp6_write(&c->settings, &x->request, reply, message);

	c->owner->reply(c->arg, x->mac, x->from, message, len);
}

static void answer_status(const struct exchange *x, enum dhcp6_status status)
{
	const struct dhcp6_reply reply = { .type = DHCP6_REPLY,
					   .has_status = true,
					   .status = status };

	answer(x, &reply);
}

/* --- addresses ------------------------------------------------------------ */

static bool has_declined(const struct dhcp6_server *s, const struct mac *mac)
{
	for (unsigned int i = 0; i < MAX_DECLINED; i++) {
		if (s->declined[i].until_ms > loop_now_ms(s->loop) &&
		    mac_equal(&s->declined[i].mac, mac))
			return true;
	}
	return false;
}

/* Any when there is none. */
static struct ipaddr find_address(const struct exchange *x, bool is_taken)
{
	struct dhcp6_server *s = x->server;
	struct ipaddr addr;

	if (!has_declined(s, x->mac) &&
	    s->config.owner->address(s->config.arg, x->mac, x->request.name, is_taken, &addr) == 0)
		return addr;
	s->counters.exhausted++;
	return IPADDR_V6_ANY;
}

/* Solicit, request, renew and rebind (sections 18.3.1 to 18.3.5): a guest has one
 * address, whatever it calls it. */
static void give(const struct exchange *x, bool is_taken)
{
	struct dhcp6_reply reply = {
		.type = is_taken ? DHCP6_REPLY : DHCP6_ADVERTISE,
		.has_addresses = true,
		.no_ia = DHCP6_NO_ADDRESS,
	};

	if (x->request.n_ias)
		reply.address = find_address(x, is_taken);
	answer(x, &reply);
}

/* Whether it is still where these addresses are (section 18.3.3). */
static void confirm(const struct exchange *x)
{
	enum dhcp6_status status = DHCP6_SUCCESS;
	unsigned int n = 0;

	for (unsigned int i = 0; i < x->request.n_ias; i++) {
		const struct dhcp6_ia *ia = &x->request.ias[i];

		for (unsigned int j = 0; j < ia->n; j++, n++) {
			if (!ipaddr_in_prefix(&ia->addresses[j], &x->server->config.prefix, 64))
				status = DHCP6_NOT_ON_LINK;
		}
	}
	if (n) /* or there is nothing to be said */
		answer_status(x, status);
}

/* Its number stays the guest's, so it is only not told for a while. */
static void decline(const struct exchange *x)
{
	struct dhcp6_server *s = x->server;
	struct declined *oldest = &s->declined[0];
	char mac[MAC_TEXT_SIZE];

	s->counters.declined++;
	log_limited(LOG_LEVEL_WARN, "guest %s finds its IPv6 address in use by another",
		    mac_format(x->mac, mac));
	for (unsigned int i = 1; i < MAX_DECLINED; i++) {
		if (s->declined[i].until_ms < oldest->until_ms)
			oldest = &s->declined[i];
	}
	*oldest = (struct declined){ *x->mac, loop_now_ms(s->loop) + DECLINED_MS };
	answer_status(x, DHCP6_SUCCESS);
}

static void inform(const struct exchange *x)
{
	const struct dhcp6_reply reply = { .type = DHCP6_REPLY };

	answer(x, &reply);
}

/* --- messages ------------------------------------------------------------- */

static bool is_for(const struct dhcp6_server *s, const struct dhcp6_request *r)
{
	const struct dhcp6_duid *own = &s->config.settings.server;

	return r->server.len == 0 ||
	       (r->server.len == own->len && memcmp(r->server.bytes, own->bytes, own->len) == 0);
}

static void serve(const struct exchange *x)
{
	switch (x->request.type) {
	case DHCP6_SOLICIT:
		give(x, x->request.is_rapid);
		break;
	case DHCP6_REQUEST:
	case DHCP6_RENEW:
	case DHCP6_REBIND:
		give(x, true);
		break;
	case DHCP6_CONFIRM:
		confirm(x);
		break;
	case DHCP6_RELEASE: /* it is the guest's again when it comes back */
		answer_status(x, DHCP6_SUCCESS);
		break;
	case DHCP6_DECLINE:
		decline(x);
		break;
	case DHCP6_INFORMATION:
		inform(x);
		break;
	case DHCP6_ADVERTISE:
	case DHCP6_REPLY:
		break; /* dhcp6_parse() lets none in */
	}
}

void dhcp6_server_receive(struct dhcp6_server *s, const struct mac *mac, const struct ipaddr *from,
			  const uint8_t *message, size_t len)
{
	struct exchange x = { .server = s, .mac = mac, .from = from };

	if (dhcp6_parse(message, len, &x.request) < 0)
		s->counters.malformed++;
	else if (!is_for(s, &x.request))
		s->counters.foreign++;
	else
		serve(&x);
}

const struct dhcp6_server_counters *dhcp6_server_counters(const struct dhcp6_server *s)
{
	return &s->counters;
}

int dhcp6_server_new(struct loop *loop, const struct dhcp6_server_config *config,
		     struct dhcp6_server **out)
{
	struct dhcp6_server *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->config = *config;
	*out = s;
	return 0;
}

void dhcp6_server_free(struct dhcp6_server *s)
{
	free(s);
}
