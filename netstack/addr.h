/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Addresses as values. An IPv4 address is kept in its v4-mapped form
 * (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2), so that comparing is one memcmp
 * and tables need no family. packet.c lets no v4-mapped address in from a
 * guest's IPv6 packets, so the form is unambiguous. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct mac {
	uint8_t b[6];
};

struct ipaddr {
	uint8_t b[16]; /* network order */
};

struct endpoint {
	struct ipaddr addr;
	uint16_t port; /* host order */
};

#define IPADDR_V6_ANY ((struct ipaddr){ { 0 } })
#define IPADDR_V4(a, b_, c, d) \
	((struct ipaddr){ { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b_, c, d } })

/* Longest text: an IPv6 address in brackets, colon, port, NUL. */
#define ADDR_TEXT_SIZE 64

bool ipaddr_is_v4(const struct ipaddr *a);
bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b);
bool ipaddr_is_any(const struct ipaddr *a);	 /* 0.0.0.0 or :: */
bool ipaddr_is_loopback(const struct ipaddr *a); /* 127.0.0.0/8 or ::1 */
bool ipaddr_is_multicast(const struct ipaddr *a);
bool ipaddr_is_link_local(const struct ipaddr *a); /* fe80::/10 only */
/* Whether a host may be dialled by a guest at this address: false for any,
 * loopback, multicast, broadcast and the v6 forms that embed an IPv4 address
 * the kernel would unwrap. The loopback of the host is reached through the
 * gateway's address, or not at all. */
bool ipaddr_is_dialable(const struct ipaddr *a);
bool ipaddr_in_prefix(const struct ipaddr *a, const struct ipaddr *prefix, unsigned int bits);

struct ipaddr ipaddr_from_v4(const uint8_t bytes[4]);
struct ipaddr ipaddr_from_v6(const uint8_t bytes[16]);
/* The four bytes of an IPv4 address, for wire formats. */
static inline const uint8_t *ipaddr_v4_bytes(const struct ipaddr *a)
{
	return a->b + 12;
}

/* Text without brackets: 127.0.0.1, ::1. Returns 0 or -EINVAL. */
int ipaddr_parse(const char *text, struct ipaddr *out);
const char *ipaddr_format(const struct ipaddr *a, char text[static ADDR_TEXT_SIZE]);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
/* 127.0.0.1:80, [::1]:80 */
const char *endpoint_format(const struct endpoint *e, char text[static ADDR_TEXT_SIZE]);
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
/* Only AF_INET and AF_INET6; -EAFNOSUPPORT for others. */
int endpoint_from_sockaddr(const struct sockaddr_storage *sa, struct endpoint *out);

static inline bool mac_is_group(const struct mac *m)
{
	return m->b[0] & 1;
}
bool mac_equal(const struct mac *a, const struct mac *b);
/* Text such as 52:54:00:12:34:56. Returns 0 or -EINVAL. */
#define MAC_TEXT_SIZE 18
int mac_parse(const char *text, struct mac *out);
const char *mac_format(const struct mac *m, char text[static MAC_TEXT_SIZE]);

/* A keyed hash for tables whose keys a guest chooses. Seeded once, randomly. */
uint32_t hash_bytes(const void *data, unsigned int len);
