/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp.h"

#include <errno.h>
#include <string.h>

#include "netstack/base/bytes.h"

/* RFC 2131, section 2 */
enum {
	AT_OP,
	AT_HTYPE,
	AT_HLEN,
	AT_XID = 4,
	AT_FLAGS = 10,
	AT_CIADDR = 12,
	AT_YIADDR = 16,
	AT_GIADDR = 24,
	AT_CHADDR = 28,
	AT_COOKIE = 236,
	AT_OPTIONS = 240,
};
#define BOOTREQUEST 1
#define BOOTREPLY 2
#define ETHERNET 1
#define FLAG_BROADCAST 0x8000U
#define COOKIE 0x63825363U
/* Some relays and clients take no less (RFC 1542, section 2.1). */
#define REPLY_MIN 300U

enum option {
	OPTION_PAD = 0,
	OPTION_MASK = 1,
	OPTION_ROUTER = 3,
	OPTION_DNS = 6,
	OPTION_NAME = 12,
	OPTION_DOMAIN = 15,
	OPTION_MTU = 26,
	OPTION_BROADCAST = 28,
	OPTION_NTP = 42,
	OPTION_REQUESTED = 50,
	OPTION_LEASE_TIME = 51,
	OPTION_TYPE = 53,
	OPTION_SERVER = 54,
	OPTION_MESSAGE = 56,
	OPTION_RENEWAL = 58,
	OPTION_REBINDING = 59,
	OPTION_CLIENT_ID = 61,
	OPTION_SEARCH = 119,
	OPTION_END = 255,
};

/* --- reading -------------------------------------------------------------- */

static void take_address(const uint8_t *data, size_t len, struct ipaddr *out)
{
	if (len == 4 && get_be32(data) != 0)
		*out = ipaddr_from_v4(data);
}

static void take_name(const uint8_t *data, size_t len, char name[LEASE_NAME_SIZE])
{
	if (len >= LEASE_NAME_SIZE || memchr(data, '\0', len))
		return;
	memcpy(name, data, len);
	name[len] = '\0';
}

static void take_option(struct dhcp_request *r, uint8_t option, const uint8_t *data, size_t len)
{
	switch (option) {
	case OPTION_TYPE:
		if (len == 1)
			r->type = (enum dhcp_type)data[0];
		break;
	case OPTION_REQUESTED:
		take_address(data, len, &r->requested);
		break;
	case OPTION_SERVER:
		take_address(data, len, &r->server);
		break;
	case OPTION_NAME:
		take_name(data, len, r->name);
		break;
	case OPTION_CLIENT_ID:
		if (len >= 2 && len <= LEASE_CLIENT_ID_MAX) {
			memcpy(r->client.id, data, len);
			r->client.id_len = (uint8_t)len;
		}
		break;
	default:
		break;
	}
}

static int take_options(struct dhcp_request *r, const uint8_t *m, size_t len)
{
	size_t at = AT_OPTIONS;

	while (at < len && m[at] != OPTION_END) {
		size_t size;

		if (m[at] == OPTION_PAD) {
			at++;
			continue;
		}
		if (at + 2 > len)
			return -EINVAL;
		size = m[at + 1];
		if (at + 2 + size > len)
			return -EINVAL;
		take_option(r, m[at], m + at + 2, size);
		at += 2 + size;
	}
	return 0;
}

static bool is_of_client(enum dhcp_type type)
{
	return type == DHCP_DISCOVER || type == DHCP_REQUEST || type == DHCP_DECLINE ||
	       type == DHCP_RELEASE || type == DHCP_INFORM;
}

int dhcp_parse(const uint8_t *m, size_t len, struct dhcp_request *out)
{
	struct dhcp_request r = { .name = "" };

	if (len < AT_OPTIONS || m[AT_OP] != BOOTREQUEST || m[AT_HTYPE] != ETHERNET ||
	    m[AT_HLEN] != 6 || get_be32(m + AT_COOKIE) != COOKIE)
		return -EINVAL;
	if (get_be32(m + AT_GIADDR) != 0)
		return -EOPNOTSUPP;
	r.xid = get_be32(m + AT_XID);
	r.wants_broadcast = get_be16(m + AT_FLAGS) & FLAG_BROADCAST;
	take_address(m + AT_CIADDR, 4, &r.ciaddr);
	memcpy(r.client.mac.b, m + AT_CHADDR, 6);
	if (take_options(&r, m, len) < 0 || !is_of_client(r.type) || mac_is_group(&r.client.mac))
		return -EINVAL;
	*out = r;
	return 0;
}

/* --- writing -------------------------------------------------------------- */

struct writer {
	uint8_t *at, *end;
};

/* What does not fit is left out: the options come in the order of their use. */
static void put(struct writer *w, enum option option, const void *data, size_t len)
{
	if (len == 0 || len > 255 || (size_t)(w->end - w->at) < 2 + len + 1)
		return;
	w->at[0] = (uint8_t)option;
	w->at[1] = (uint8_t)len;
	memcpy(w->at + 2, data, len);
	w->at += 2 + len;
}

static void put_number(struct writer *w, enum option option, uint32_t value)
{
	uint8_t bytes[4];

	put_be32(bytes, value);
	put(w, option, bytes, sizeof(bytes));
}

static void put_address(struct writer *w, enum option option, const struct ipaddr *addr)
{
	put(w, option, ipaddr_v4_bytes(addr), 4);
}

static void put_settings(struct writer *w, const struct dhcp_settings *s)
{
	uint32_t mask = ~0U << (32 - s->prefix_bits);
	uint8_t mtu[2], ntp[4 * DHCP_MAX_NTP];

	put_number(w, OPTION_MASK, mask);
	put_address(w, OPTION_ROUTER, &s->router);
	put_address(w, OPTION_DNS, &s->dns);
	put_be16(mtu, s->mtu);
	put(w, OPTION_MTU, mtu, sizeof(mtu));
	put_number(w, OPTION_BROADCAST, get_be32(ipaddr_v4_bytes(&s->server)) | ~mask);
	for (unsigned int i = 0; i < s->n_ntp; i++)
		memcpy(ntp + (size_t)4 * i, ipaddr_v4_bytes(&s->ntp[i]), 4);
	put(w, OPTION_NTP, ntp, (size_t)4 * s->n_ntp);
	if (s->domain)
		put(w, OPTION_DOMAIN, s->domain, strlen(s->domain));
	put(w, OPTION_SEARCH, s->search, s->search_len);
}

static void put_options(struct writer *w, const struct dhcp_settings *s,
			const struct dhcp_reply *reply)
{
	uint8_t type = (uint8_t)reply->type;

	put(w, OPTION_TYPE, &type, 1);
	put_address(w, OPTION_SERVER, &s->server);
	if (reply->type == DHCP_NAK) {
		put(w, OPTION_MESSAGE, reply->nak_reason, strlen(reply->nak_reason));
		return;
	}
	if (!ipaddr_is_any(&reply->yiaddr)) {
		put_number(w, OPTION_LEASE_TIME, s->lease_s);
		put_number(w, OPTION_RENEWAL, s->lease_s / 2);
		put_number(w, OPTION_REBINDING, s->lease_s / 8 * 7);
	}
	put_settings(w, s);
}

size_t dhcp_write(const struct dhcp_settings *s, const struct dhcp_request *request,
		  const struct dhcp_reply *reply, uint8_t m[static DHCP_REPLY_MAX])
{
	struct writer w = { m + AT_OPTIONS, m + DHCP_REPLY_MAX };
	size_t len;

	memset(m, 0, DHCP_REPLY_MAX);
	m[AT_OP] = BOOTREPLY;
	m[AT_HTYPE] = ETHERNET;
	m[AT_HLEN] = 6;
	put_be32(m + AT_XID, request->xid);
	put_be16(m + AT_FLAGS, request->wants_broadcast ? FLAG_BROADCAST : 0);
	if (reply->type == DHCP_ACK && !ipaddr_is_any(&request->ciaddr))
		memcpy(m + AT_CIADDR, ipaddr_v4_bytes(&request->ciaddr), 4);
	if (!ipaddr_is_any(&reply->yiaddr))
		memcpy(m + AT_YIADDR, ipaddr_v4_bytes(&reply->yiaddr), 4);
	memcpy(m + AT_CHADDR, request->client.mac.b, 6);
	put_be32(m + AT_COOKIE, COOKIE);
	put_options(&w, s, reply);
	*w.at++ = OPTION_END;
	len = (size_t)(w.at - m);
	return len < REPLY_MIN ? REPLY_MIN : len;
}

int dhcp_add_search(struct dhcp_settings *s, const char *name)
{
	uint8_t encoded[DHCP_SEARCH_MAX];
	size_t at = 0;

	while (*name) {
		size_t len = strcspn(name, ".");

		if (len == 0 || len > 63)
			return -EINVAL;
		if (at + len + 2 > sizeof(encoded))
			return -ENOSPC;
		encoded[at++] = (uint8_t)len;
		memcpy(encoded + at, name, len);
		at += len;
		name += len;
		name += *name == '.';
	}
	if (at == 0)
		return -EINVAL;
	encoded[at++] = 0;
	if (s->search_len + at > sizeof(s->search))
		return -ENOSPC;
	memcpy(s->search + s->search_len, encoded, at);
	s->search_len += at;
	return 0;
}
