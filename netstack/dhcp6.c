/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/dhcp6.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "netstack/base/bytes.h"

#define HEADER_SIZE 4U /* type and transaction */
#define OPTION_HEADER_SIZE 4U
#define IA_HEADER_SIZE 12U
#define IA_ADDRESS_SIZE 24U

enum option {
	OPTION_CLIENT = 1,
	OPTION_SERVER = 2,
	OPTION_IA_NA = 3,
	OPTION_IA_ADDRESS = 5,
	OPTION_STATUS = 13,
	OPTION_RAPID_COMMIT = 14,
	OPTION_DNS = 23,
	OPTION_SEARCH = 24,
	OPTION_NAME = 39,
};

/* --- reading -------------------------------------------------------------- */

/* Options, one after the other; those of an IA in the same form. */
struct reader {
	const uint8_t *at, *end;
	uint16_t option;
	const uint8_t *data;
	size_t len;
};

/* 1 with an option, 0 at the end, -EINVAL where one is cut short. */
static int next(struct reader *r)
{
	if (r->at == r->end)
		return 0;
	if ((size_t)(r->end - r->at) < OPTION_HEADER_SIZE)
		return -EINVAL;
	r->option = get_be16(r->at);
	r->len = get_be16(r->at + 2);
	r->data = r->at + OPTION_HEADER_SIZE;
	if ((size_t)(r->end - r->data) < r->len)
		return -EINVAL;
	r->at = r->data + r->len;
	return 1;
}

static int take_duid(const struct reader *r, struct dhcp6_duid *out)
{
	if (out->len || r->len < 3 || r->len > sizeof(out->bytes))
		return -EINVAL;
	memcpy(out->bytes, r->data, r->len);
	out->len = r->len;
	return 0;
}

static int take_ia(const struct reader *outer, struct dhcp6_request *out)
{
	struct reader r = { .end = outer->data + outer->len };
	struct dhcp6_ia ia = { .n = 0 };
	int result;

	if (outer->len < IA_HEADER_SIZE)
		return -EINVAL;
	ia.iaid = get_be32(outer->data);
	r.at = outer->data + IA_HEADER_SIZE;
	while ((result = next(&r)) > 0) {
		if (r.option != OPTION_IA_ADDRESS)
			continue;
		if (r.len < IA_ADDRESS_SIZE)
			return -EINVAL;
		if (ia.n < DHCP6_MAX_ADDRESSES)
			ia.addresses[ia.n++] = ipaddr_from_v6(r.data);
	}
	if (result == 0 && out->n_ias < DHCP6_MAX_IA)
		out->ias[out->n_ias++] = ia;
	return result;
}

/* One byte of flags and a name that may have no end (RFC 4704, section 4.2). */
static void take_name(const struct reader *r, char name[LEASE_NAME_SIZE])
{
	size_t label = r->len < 2 ? 0 : r->data[1];

	if (label == 0 || label >= LEASE_NAME_SIZE || label + 2 > r->len ||
	    memchr(r->data + 2, '\0', label))
		return;
	memcpy(name, r->data + 2, label);
	name[label] = '\0';
}

static int take_option(const struct reader *r, struct dhcp6_request *out)
{
	switch (r->option) {
	case OPTION_CLIENT:
		return take_duid(r, &out->client);
	case OPTION_SERVER:
		return take_duid(r, &out->server);
	case OPTION_IA_NA:
		return take_ia(r, out);
	case OPTION_RAPID_COMMIT:
		out->is_rapid = true;
		return 0;
	case OPTION_NAME:
		take_name(r, out->name);
		return 0;
	default:
		return 0;
	}
}

/* Sections 16.2 to 16.12. */
static bool is_valid(const struct dhcp6_request *r)
{
	bool has_client = r->client.len > 0, has_server = r->server.len > 0;

	switch (r->type) {
	case DHCP6_SOLICIT:
	case DHCP6_CONFIRM:
	case DHCP6_REBIND:
		return has_client && !has_server;
	case DHCP6_REQUEST:
	case DHCP6_RENEW:
	case DHCP6_RELEASE:
	case DHCP6_DECLINE:
		return has_client && has_server;
	case DHCP6_INFORMATION:
		return r->n_ias == 0;
	case DHCP6_ADVERTISE:
	case DHCP6_REPLY:
		break;
	}
	return false;
}

int dhcp6_parse(const uint8_t *m, size_t len, struct dhcp6_request *out)
{
	struct dhcp6_request request = { .name = "" };
	struct reader r = { .end = m + len };
	int result;

	if (len < HEADER_SIZE)
		return -EINVAL;
	request.type = (enum dhcp6_type)m[0];
	request.xid = get_be32(m) & 0xffffffU;
	r.at = m + HEADER_SIZE;
	while ((result = next(&r)) > 0) {
		if (take_option(&r, &request) < 0)
			return -EINVAL;
	}
	if (result < 0 || !is_valid(&request))
		return -EINVAL;
	*out = request;
	return 0;
}

/* --- writing -------------------------------------------------------------- */

struct writer {
	uint8_t *at, *end;
};

/* The most that is ever written fits: see DHCP6_REPLY_MAX. */
static uint8_t *put(struct writer *w, enum option option, size_t len)
{
	uint8_t *data = w->at + OPTION_HEADER_SIZE;

	assert((size_t)(w->end - w->at) >= OPTION_HEADER_SIZE + len);
	put_be16(w->at, (uint16_t)option);
	put_be16(w->at + 2, (uint16_t)len);
	w->at = data + len;
	return data;
}

static void put_bytes(struct writer *w, enum option option, const void *bytes, size_t len)
{
	if (len)
		memcpy(put(w, option, len), bytes, len);
}

static void put_status(struct writer *w, enum dhcp6_status status)
{
	put_be16(put(w, OPTION_STATUS, 2), (uint16_t)status);
}

/* With a lifetime of 0 the client gives it up. */
static void put_ia_address(struct writer *w, const struct ipaddr *addr, uint32_t lease_s)
{
	uint8_t *data = put(w, OPTION_IA_ADDRESS, IA_ADDRESS_SIZE);

	memcpy(data, addr->b, 16);
	put_be32(data + 16, lease_s);
	put_be32(data + 20, lease_s);
}

static void put_ia(struct writer *w, const struct dhcp6_ia *ia, const struct dhcp6_reply *reply,
		   uint32_t lease_s)
{
	uint8_t *data = put(w, OPTION_IA_NA, IA_HEADER_SIZE);
	bool has_address = !ipaddr_is_any(&reply->address);

	put_be32(data, ia->iaid);
	put_be32(data + 4, has_address ? lease_s / 2 : 0);
	put_be32(data + 8, has_address ? lease_s / 5 * 4 : 0);
	if (has_address)
		put_ia_address(w, &reply->address, lease_s);
	for (unsigned int i = 0; reply->type == DHCP6_REPLY && i < ia->n; i++) {
		if (!ipaddr_equal(&ia->addresses[i], &reply->address))
			put_ia_address(w, &ia->addresses[i], 0);
	}
	if (!has_address)
		put_status(w, reply->no_ia);
	put_be16(data - 2, (uint16_t)(w->at - data));
}

static void put_ias(struct writer *w, const struct dhcp6_settings *s,
		    const struct dhcp6_request *request, const struct dhcp6_reply *reply)
{
	struct dhcp6_reply one = *reply;

	for (unsigned int i = 0; i < request->n_ias; i++) {
		put_ia(w, &request->ias[i], &one, s->lease_s);
		one.address = IPADDR_V6_ANY; /* there is but one */
		if (one.no_ia == DHCP6_SUCCESS)
			one.no_ia = DHCP6_NO_ADDRESS;
	}
}

size_t dhcp6_write(const struct dhcp6_settings *s, const struct dhcp6_request *request,
		   const struct dhcp6_reply *reply, uint8_t m[static DHCP6_REPLY_MAX])
{
	struct writer w = { m + HEADER_SIZE, m + DHCP6_REPLY_MAX };

	put_be32(m, (uint32_t)reply->type << 24 | request->xid);
	put_bytes(&w, OPTION_CLIENT, request->client.bytes, request->client.len);
	put_bytes(&w, OPTION_SERVER, s->server.bytes, s->server.len);
	if (reply->has_status)
		put_status(&w, reply->status);
	if (reply->has_addresses)
		put_ias(&w, s, request, reply);
	if (request->type == DHCP6_SOLICIT && reply->type == DHCP6_REPLY)
		(void)put(&w, OPTION_RAPID_COMMIT, 0);
	put_bytes(&w, OPTION_DNS, s->dns.b, 16);
	put_bytes(&w, OPTION_SEARCH, s->search, s->search_len);
	return (size_t)(w.at - m);
}
