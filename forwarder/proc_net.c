/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/proc_net.h"

#include <string.h>

#define DIGITS_V4 8U
#define DIGITS_V6 32U
#define STATE_LISTEN 0x0aU /* TCP_LISTEN of the kernel's net/tcp_states.h */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* As many hexadecimal digits; moves on behind them. */
static bool parse_hex(const char **text, unsigned int digits, uint32_t *out)
{
	*out = 0;
	for (; digits > 0; digits--, (*text)++) {
		int value = digit(**text);

		if (value < 0)
			return false;
		*out = *out << 4 | (uint32_t)value;
	}
	return true;
}

static bool parse_address(const char **text, enum proc_net_order order, struct ipaddr *out)
{
	size_t digits = strspn(*text, "0123456789ABCDEF");
	uint8_t bytes[DIGITS_V6 / 2];

	if (digits != DIGITS_V4 && digits != DIGITS_V6)
		return false;
	for (size_t i = 0; i < digits / 2; i += 4) {
		uint32_t word;

		(void)parse_hex(text, 8, &word);
		for (size_t j = 0; j < 4; j++)
			bytes[order == PROC_NET_BIG_ENDIAN ? i + 3 - j : i + j] =
				(uint8_t)(word >> 8 * j);
	}
	*out = digits == DIGITS_V4 ? ipaddr_from_v4(bytes) : ipaddr_from_v6(bytes);
	return true;
}

/* "0100007F:1F90" */
static bool parse_endpoint(const char **text, enum proc_net_order order, struct endpoint *out)
{
	uint32_t port;

	if (!parse_address(text, order, &out->addr) || *(*text)++ != ':' ||
	    !parse_hex(text, 4, &port))
		return false;
	out->port = (uint16_t)port;
	return true;
}

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " ");
}

/* "   0: 0100007F:1F90 00000000:0000 0A ...": its number, both ends, its state. */
bool proc_net_parse(const char *line, enum proc_net_order order, struct port_listener *out)
{
	const char *text = strchr(line, ':');
	struct endpoint peer;
	uint32_t state;

	if (!text)
		return false;
	text = skip_blanks(text + 1);
	out->proto = FORWARD_TCP;
	if (!parse_endpoint(&text, order, &out->guest))
		return false;
	text = skip_blanks(text);
	if (!parse_endpoint(&text, order, &peer))
		return false;
	text = skip_blanks(text);
	return parse_hex(&text, 2, &state) && state == STATE_LISTEN && out->guest.port != 0;
}
