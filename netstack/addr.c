/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool ipaddr_is_v4(const struct ipaddr *a)
{
	return memcmp(a->b, v4_mapped, sizeof(v4_mapped)) == 0;
}

bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool ipaddr_is_any(const struct ipaddr *a)
{
	static const struct ipaddr any4 = IPADDR_V4(0, 0, 0, 0);
	static const struct ipaddr any6;

	return ipaddr_equal(a, &any4) || ipaddr_equal(a, &any6);
}

bool ipaddr_is_loopback(const struct ipaddr *a)
{
	static const struct ipaddr loopback6 = { { [15] = 1 } };

	if (ipaddr_is_v4(a))
		return a->b[12] == 127;
	return ipaddr_equal(a, &loopback6);
}

bool ipaddr_is_multicast(const struct ipaddr *a)
{
	if (ipaddr_is_v4(a))
		return (a->b[12] & 0xf0) == 0xe0;
	return a->b[0] == 0xff;
}

bool ipaddr_is_link_local(const struct ipaddr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* ::/96 (v4-compatible), 64:ff9b::/96 is left alone: that is NAT64's job. */
static bool embeds_v4(const struct ipaddr *a)
{
	static const uint8_t zero[12];

	return memcmp(a->b, zero, sizeof(zero)) == 0;
}

bool ipaddr_is_dialable(const struct ipaddr *a)
{
	if (ipaddr_is_multicast(a) || ipaddr_is_loopback(a))
		return false;
	if (ipaddr_is_v4(a))
		return a->b[12] != 0 && a->b[12] < 240;
	return !embeds_v4(a) && !ipaddr_is_link_local(a);
}

bool ipaddr_in_prefix(const struct ipaddr *a, const struct ipaddr *prefix, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (memcmp(a->b, prefix->b, whole) != 0)
		return false;
	return rest == 0 || (a->b[whole] ^ prefix->b[whole]) >> (8 - rest) == 0;
}

struct ipaddr ipaddr_from_v4(const uint8_t bytes[4])
{
	return IPADDR_V4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

struct ipaddr ipaddr_from_v6(const uint8_t bytes[16])
{
	struct ipaddr a;

	memcpy(a.b, bytes, sizeof(a.b));
	return a;
}

int ipaddr_parse(const char *text, struct ipaddr *out)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		*out = ipaddr_from_v4(bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		*out = ipaddr_from_v6(bytes);
	else
		return -EINVAL;
	return 0;
}

const char *ipaddr_format(const struct ipaddr *a, char text[static ADDR_TEXT_SIZE])
{
	if (ipaddr_is_v4(a))
		return inet_ntop(AF_INET, ipaddr_v4_bytes(a), text, ADDR_TEXT_SIZE);
	return inet_ntop(AF_INET6, a->b, text, ADDR_TEXT_SIZE);
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ipaddr_equal(&a->addr, &b->addr);
}

const char *endpoint_format(const struct endpoint *e, char text[static ADDR_TEXT_SIZE])
{
	char addr[ADDR_TEXT_SIZE];
	bool v4 = ipaddr_is_v4(&e->addr);

	(void)snprintf(text, ADDR_TEXT_SIZE, "%s%.45s%s:%u", v4 ? "" : "[",
		       ipaddr_format(&e->addr, addr), v4 ? "" : "]", e->port);
	return text;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (ipaddr_is_v4(&e->addr)) {
		struct sockaddr_in *sin = (void *)out;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(e->port);
		memcpy(&sin->sin_addr, ipaddr_v4_bytes(&e->addr), 4);
		return sizeof(*sin);
	}
	struct sockaddr_in6 *sin6 = (void *)out;

	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(e->port);
	memcpy(&sin6->sin6_addr, e->addr.b, 16);
	return sizeof(*sin6);
}

int endpoint_from_sockaddr(const struct sockaddr_storage *sa, struct endpoint *out)
{
	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const void *)sa;

		out->addr = ipaddr_from_v4((const void *)&sin->sin_addr);
		out->port = ntohs(sin->sin_port);
		return 0;
	}
	if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const void *)sa;

		out->addr = ipaddr_from_v6(sin6->sin6_addr.s6_addr);
		out->port = ntohs(sin6->sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

bool mac_equal(const struct mac *a, const struct mac *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int mac_parse(const char *text, struct mac *out)
{
	struct mac mac;

	for (size_t i = 0; i < sizeof(mac.b); i++) {
		int high = hex_value(text[0]), low = high < 0 ? -1 : hex_value(text[1]);

		if (low < 0 || text[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac.b[i] = (uint8_t)(high << 4 | low);
		text += 3;
	}
	*out = mac;
	return 0;
}

const char *mac_format(const struct mac *m, char text[static MAC_TEXT_SIZE])
{
	(void)snprintf(text, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", m->b[0], m->b[1],
		       m->b[2], m->b[3], m->b[4], m->b[5]);
	return text;
}

/* FNV-1a over a random start, finished by a multiply-xorshift: enough that a
 * guest that does not know the seed cannot aim at one bucket. */
uint32_t hash_bytes(const void *data, unsigned int len)
{
	static uint64_t seed;
	const uint8_t *p = data;
	uint64_t h;

	while (seed == 0) {
		if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
			seed = 0;
	}
	h = seed;
	for (unsigned int i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3U;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93U;
	return (uint32_t)(h >> 32);
}
