/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/network_spec.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ipaddr v4_any = IPADDR_V4(0, 0, 0, 0);

static long parse_bits(const char *text)
{
	size_t len = strspn(text, "0123456789");

	return len >= 1 && len <= 2 && !text[len] ? strtol(text, NULL, 10) : -1;
}

int network_spec_parse(const char *text, struct ipaddr *network, unsigned int *bits,
		       char error[static NETWORK_SPEC_ERROR_SIZE])
{
	const char *slash = strchr(text, '/');
	char address[ADDR_TEXT_SIZE];
	struct ipaddr addr, host_bits;
	long n_bits = slash ? parse_bits(slash + 1) : -1;

	/* The gateway is .2, DNS .3 and the guest .15 of it, so /27 is the least. */
	if (n_bits < 8 || n_bits > 27 || slash - text >= ADDR_TEXT_SIZE) {
		(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
			       "must be an IPv4 network such as 192.168.5.0/24, /8 to /27");
		return -EINVAL;
	}
	(void)snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
	if (ipaddr_parse(address, &addr) < 0 || !ipaddr_is_v4(&addr) ||
	    !ipaddr_is_dialable(&addr)) {
		(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
			       "\"%s\" is not the IPv4 address of a network of guests; "
			       "try 192.168.5.0/24",
			       address);
		return -EINVAL;
	}
	host_bits = addr;
	for (long bit = 0; bit < n_bits; bit++)
		host_bits.b[12 + bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
	if (!ipaddr_equal(&host_bits, &v4_any)) {
		(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
			       "the address has bits set beyond its first %ld", n_bits);
		return -EINVAL;
	}
	*network = addr;
	*bits = (unsigned int)n_bits;
	return 0;
}

int network_spec_check_ifname(const char *name, char error[static NETWORK_SPEC_ERROR_SIZE])
{
	if (*name && strlen(name) < IFNAMSIZ && !strpbrk(name, "/: \t\n") &&
	    strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return 0;
	(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
		       "an interface's name has 1 to %d characters, none of them a slash, "
		       "colon or blank",
		       IFNAMSIZ - 1);
	return -EINVAL;
}

static int parse_v4(const char *text, size_t len, struct ipaddr *out)
{
	char address[ADDR_TEXT_SIZE];

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	return ipaddr_parse(address, out) == 0 && ipaddr_is_v4(out) ? 0 : -EINVAL;
}

int network_spec_parse_range(const char *text, struct ipaddr *first, struct ipaddr *last,
			     char error[static NETWORK_SPEC_ERROR_SIZE])
{
	size_t len = strcspn(text, "-");

	if (text[len] == '-' && parse_v4(text, len, first) == 0 &&
	    parse_v4(text + len + 1, strlen(text + len + 1), last) == 0 &&
	    memcmp(first, last, sizeof(*first)) <= 0)
		return 0;
	(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
		       "must be two IPv4 addresses, first and last, such as "
		       "192.168.105.16-192.168.105.99");
	return -EINVAL;
}

int network_spec_parse_loopback(const char *text, struct ipaddr *out,
				char error[static NETWORK_SPEC_ERROR_SIZE])
{
	/* 127.0.0.0/16 is where everything else listens */
	if (ipaddr_parse(text, out) == 0 && ipaddr_is_v4(out) && ipaddr_is_loopback(out) &&
	    out->b[13] != 0 && out->b[14] == 0 && out->b[15] == 0)
		return 0;
	(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
		       "must be 127.N.0.0, with N from 1 to 255, such as 127.105.0.0");
	return -EINVAL;
}

int network_spec_parse_mac(const char *text, struct mac *out,
			   char error[static NETWORK_SPEC_ERROR_SIZE])
{
	if (mac_parse(text, out) == 0 && !mac_is_group(out))
		return 0;
	(void)snprintf(error, NETWORK_SPEC_ERROR_SIZE,
		       "must be the MAC address of one card, such as 52:54:00:12:34:56");
	return -EINVAL;
}
