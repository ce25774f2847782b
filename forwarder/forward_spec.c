/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/forward_spec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The text is read from left to right; `at` is what comes next. */
struct parser {
	const char *text;
	const char *at;
	char *error;
};

struct ports {
	uint16_t first;
	unsigned int count;
};

const char *forward_proto_name(enum forward_proto proto)
{
	switch (proto) {
	case FORWARD_TCP:
		return "tcp";
	case FORWARD_UDP:
		return "udp";
	}
	return NULL;
}

/* "host port "99999" (character 15): ..." */
__attribute__((format(printf, 5, 6))) static int bad(struct parser *p, const char *what,
						     const char *part, int len, const char *fmt,
						     ...)
{
	char why[128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	(void)snprintf(p->error, FORWARD_SPEC_ERROR_SIZE, "%s \"%.*s\" (character %d): %s", what,
		       len > 64 ? 64 : len, part, (int)(part - p->text) + 1, why);
	return -EINVAL;
}

/* The length of the field at p->at: up to a colon outside brackets. */
static int field_len(const struct parser *p)
{
	size_t len = 0;

	if (*p->at == '[')
		len = strcspn(p->at, "]");
	return (int)(len + strcspn(p->at + len, ":"));
}

static int skip_colon(struct parser *p, const char *next)
{
	if (*p->at != ':') {
		(void)snprintf(p->error, FORWARD_SPEC_ERROR_SIZE,
			       "ends where %s should follow (character %d): "
			       "PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT",
			       next, (int)(p->at - p->text) + 1);
		return -EINVAL;
	}
	p->at++;
	return 0;
}

static int parse_proto(struct parser *p, enum forward_proto *out)
{
	int len = field_len(p);

	if (len == 3 && strncmp(p->at, "tcp", 3) == 0)
		*out = FORWARD_TCP;
	else if (len == 3 && strncmp(p->at, "udp", 3) == 0)
		*out = FORWARD_UDP;
	else
		return bad(p, "protocol", p->at, len, "must be tcp or udp");
	p->at += len;
	return 0;
}

/* A field of digits and '-' is ports, all else is meant as an address. */
static bool is_at_address(const struct parser *p)
{
	int len = field_len(p);

	return len > 0 && (int)strspn(p->at, "0123456789-") < len;
}

static int parse_address(struct parser *p, const char *what, struct ipaddr *out)
{
	int len = field_len(p);
	bool has_brackets = *p->at == '[';
	char text[ADDR_TEXT_SIZE];

	if (has_brackets && p->at[len - 1] != ']')
		return bad(p, what, p->at, len, "the bracket must close before the colon");
	if (len >= ADDR_TEXT_SIZE)
		return bad(p, what, p->at, len, "too long for an address");
	if (has_brackets)
		(void)snprintf(text, sizeof(text), "%.*s", len - 2, p->at + 1);
	else
		(void)snprintf(text, sizeof(text), "%.*s", len, p->at);
	if (ipaddr_parse(text, out) < 0)
		return bad(p, what, p->at, len,
			   "must be an address such as 127.0.0.1 or [::1]"
			   " (names are not looked up)");
	if (has_brackets && ipaddr_is_v4(out))
		return bad(p, what, p->at, len, "IPv4 is written without brackets: 127.0.0.1");
	if (ipaddr_is_multicast(out))
		return bad(p, what, p->at, len, "is a multicast address");
	p->at += len;
	return 0;
}

/* Digits at *at, up to end; 0 is never returned for a port number. */
static uint16_t read_port(const char **at, const char *end)
{
	unsigned int value = 0;

	while (*at < end && **at >= '0' && **at <= '9' && value <= UINT16_MAX)
		value = value * 10 + (unsigned int)(*(*at)++ - '0');
	return value > UINT16_MAX ? 0 : (uint16_t)value;
}

static int parse_ports(struct parser *p, const char *what, struct ports *out)
{
	int len = field_len(p);
	const char *at = p->at, *end = p->at + len;
	uint16_t first = read_port(&at, end), last = first;

	if (at < end && *at == '-') {
		at++;
		last = read_port(&at, end);
	}
	if (first == 0 || last == 0 || at != end)
		return bad(p, what, p->at, len, "must be 1 to 65535, or a range such as 9000-9010");
	if (last < first)
		return bad(p, what, p->at, len, "the range ends before it starts");
	out->first = first;
	out->count = (unsigned int)(last - first) + 1;
	p->at = end;
	return 0;
}

static int parse_host(struct parser *p, struct endpoint *host, struct ports *ports)
{
	host->addr = IPADDR_V4(127, 0, 0, 1);
	if (is_at_address(p)) {
		if (parse_address(p, "host address", &host->addr) < 0 ||
		    skip_colon(p, "the host port") < 0)
			return -EINVAL;
	}
	if (parse_ports(p, "host port", ports) < 0)
		return -EINVAL;
	host->port = ports->first;
	return 0;
}

static int parse_guest(struct parser *p, struct endpoint *guest, struct ports *ports)
{
	guest->addr = IPADDR_V6_ANY;
	if (is_at_address(p)) {
		const char *start = p->at;

		if (parse_address(p, "guest address", &guest->addr) < 0)
			return -EINVAL;
		if (!ipaddr_is_dialable(&guest->addr))
			return bad(p, "guest address", start, (int)(p->at - start),
				   "is no address of a guest; leave it out for the guest's own");
		if (skip_colon(p, "the guest port") < 0)
			return -EINVAL;
	}
	if (parse_ports(p, "guest port", ports) < 0)
		return -EINVAL;
	guest->port = ports->first;
	return 0;
}

int forward_spec_parse(const char *text, struct forward_spec *out,
		       char error[static FORWARD_SPEC_ERROR_SIZE])
{
	struct parser p = { .text = text, .at = text };
	struct ports host_ports = { 0 }, guest_ports = { 0 };
	struct forward_spec spec = { 0 };
	const char *guest_start;

	p.error = error;
	if (parse_proto(&p, &spec.proto) < 0 || skip_colon(&p, "the host port") < 0 ||
	    parse_host(&p, &spec.host, &host_ports) < 0 || skip_colon(&p, "the guest port") < 0)
		return -EINVAL;
	guest_start = p.at;
	if (parse_guest(&p, &spec.guest, &guest_ports) < 0)
		return -EINVAL;
	if (*p.at)
		return bad(&p, "text", p.at, (int)strlen(p.at),
			   "nothing may follow the guest port");
	if (host_ports.count != guest_ports.count)
		return bad(&p, "guest port", guest_start, (int)strlen(guest_start),
			   "must be as many ports as the host's: %u, not %u", host_ports.count,
			   guest_ports.count);
	spec.n_ports = host_ports.count;
	*out = spec;
	return 0;
}

static bool same_host_address(const struct ipaddr *a, const struct ipaddr *b)
{
	if (ipaddr_equal(a, b))
		return true;
	return ipaddr_is_v4(a) == ipaddr_is_v4(b) && (ipaddr_is_any(a) || ipaddr_is_any(b));
}

bool forward_spec_overlap(const struct forward_spec *a, const struct forward_spec *b,
			  uint16_t *port)
{
	const struct forward_spec *later = a->host.port >= b->host.port ? a : b;
	const struct forward_spec *earlier = later == a ? b : a;

	if (a->proto != b->proto || !same_host_address(&a->host.addr, &b->host.addr))
		return false;
	if (later->host.port >= earlier->host.port + earlier->n_ports)
		return false;
	*port = later->host.port;
	return true;
}
