/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/rule_source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define PORT_MAX 65535
#define SOCKET_PATH_SIZE (sizeof(((struct sockaddr_un *)0)->sun_path))

static const struct ipaddr v4_any = IPADDR_V4(0, 0, 0, 0);

struct range {
	int first, last;
};

/* Ports as int until they are known to be ports. */
struct check {
	const struct rule_source *source;
	struct problems *problems;
	unsigned int index;
	struct ipaddr guest_ip, host_ip;
	bool guest_ip_must_be_zero;
	struct range guest, host;
};

__attribute__((format(printf, 3, 4))) static void bad(struct check *c, const char *name,
						      const char *fmt, ...)
{
	char field[PROBLEM_FIELD_SIZE], text[PROBLEM_TEXT_SIZE];
	va_list ap;

	(void)snprintf(field, sizeof(field), "portForwards[%u].%s", c->index, name);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	problems_error(c->problems, field, "%s", text);
}

static void fill_address(struct check *c, const char *name, const char *text, struct ipaddr *out)
{
	if (text && ipaddr_parse(text, out) < 0)
		bad(c, name,
		    "must be an address such as 127.0.0.1 or ::1, but is \"%.64s\""
		    " (names are not looked up)",
		    text);
}

static struct range fill_range(const int written[2], int port, struct range otherwise)
{
	if (written[0] != 0 || written[1] != 0)
		return (struct range){ written[0], written[1] };
	return port != 0 ? (struct range){ port, port } : otherwise;
}

static void fill(struct check *c)
{
	const struct rule_source *s = c->source;

	c->guest_ip = s->guest_ip_must_be_zero == RULE_SWITCH_ON ? v4_any : IPADDR_V4(127, 0, 0, 1);
	fill_address(c, "guestIP", s->guest_ip, &c->guest_ip);
	c->guest_ip_must_be_zero = s->guest_ip_must_be_zero == RULE_SWITCH_DEFAULT ?
					   ipaddr_equal(&c->guest_ip, &v4_any) :
					   s->guest_ip_must_be_zero == RULE_SWITCH_ON;
	c->host_ip = IPADDR_V4(127, 0, 0, 1);
	fill_address(c, "hostIP", s->host_ip, &c->host_ip);
	if (ipaddr_is_multicast(&c->host_ip))
		bad(c, "hostIP", "must be an address of the host, but is a multicast address");
	c->guest = fill_range(s->guest_port_range, s->guest_port, (struct range){ 1, PORT_MAX });
	c->host = fill_range(s->host_port_range, s->host_port,
			     s->host_socket ? (struct range){ 0, 0 } : c->guest);
}

static void check_port(struct check *c, const char *name, int port)
{
	if (port < 0)
		bad(c, name, "must be > 0, but is %d", port);
	else if (port == 0)
		bad(c, name, "must be set: 1 to 65535");
	else if (port == 22)
		bad(c, name, "must not be 22");
	else if (port > PORT_MAX)
		bad(c, name, "must be < 65536, but is %d", port);
}

/* guestPort beside guestSocket and guestPortRange; the same for the host. */
struct side {
	const char *port_name, *range_name, *socket_name;
	const char *socket;
	int port;
	const int *written; /* the range */
	struct range range; /* filled */
};

static void check_side(struct check *c, const struct side *side, bool are_ports_used)
{
	bool is_range = side->written[0] != 0 || side->written[1] != 0;
	char name[32];

	if (side->port != 0) {
		if (side->socket)
			bad(c, side->port_name, "must be 0 when field `portForwards[%u].%s` is set",
			    c->index, side->socket_name);
		if (side->port != side->range.first)
			bad(c, side->port_name, "must match field `portForwards[%u].%s[0]`",
			    c->index, side->range_name);
		check_port(c, side->port_name, side->port);
	}
	for (int i = 0; is_range && are_ports_used && i < 2; i++) {
		(void)snprintf(name, sizeof(name), "%s[%d]", side->range_name, i);
		check_port(c, name, side->written[i]);
	}
	if (side->range.first > side->range.last) {
		(void)snprintf(name, sizeof(name), "%s[1]", side->range_name);
		bad(c, name, "must be greater than or equal to field `portForwards[%u].%s[0]`",
		    c->index, side->range_name);
	}
}

static void check_ports(struct check *c)
{
	const struct rule_source *s = c->source;
	const struct side guest = {
		.port_name = "guestPort",
		.range_name = "guestPortRange",
		.socket_name = "guestSocket",
		.socket = s->guest_socket,
		.port = s->guest_port,
		.written = s->guest_port_range,
		.range = c->guest,
	};
	const struct side host = {
		.port_name = "hostPort",
		.range_name = "hostPortRange",
		.socket_name = "hostSocket",
		.socket = s->host_socket,
		.port = s->host_port,
		.written = s->host_port_range,
		.range = c->host,
	};

	check_side(c, &guest, true);
	check_side(c, &host, !s->host_socket);
}

static void check_host_socket(struct check *c)
{
	const char *path = c->source->host_socket;

	if (*path != '/')
		bad(c, "hostSocket", "must be an absolute path, but is \"%.120s\"", path);
	if (!c->source->guest_socket && c->guest.last > c->guest.first)
		bad(c, "hostSocket",
		    "can only be mapped from a single port or socket, not a range;"
		    " give guestPort or guestSocket");
	if (strlen(path) >= SOCKET_PATH_SIZE)
		bad(c, "hostSocket", "must have less than %zu characters, but has %zu",
		    SOCKET_PATH_SIZE, strlen(path));
}

static void check_sockets(struct check *c)
{
	const struct rule_source *s = c->source;

	if (s->guest_socket) {
		if (*s->guest_socket != '/')
			bad(c, "guestSocket", "must be an absolute path, but is \"%.120s\"",
			    s->guest_socket);
		if (strlen(s->guest_socket) >= SOCKET_PATH_SIZE)
			bad(c, "guestSocket", "must have less than %zu characters, but has %zu",
			    SOCKET_PATH_SIZE, strlen(s->guest_socket));
		if (!s->host_socket && c->host.last > c->host.first)
			bad(c, "guestSocket",
			    "can only be mapped to a single port or socket, not a range");
	}
	if (s->host_socket)
		check_host_socket(c);
	/* In 64 bits: what was written may be any int. */
	else if ((int64_t)c->guest.last - c->guest.first != (int64_t)c->host.last - c->host.first)
		bad(c, "hostPortRange",
		    "must specify the same number of ports as field "
		    "`portForwards[%u].guestPortRange`",
		    c->index);
}

/* Lima reverses sockets only. Ports are reversed here when the rule says which:
 * the default is every port of both protocols. */
static bool is_reverse_of_ports(const struct rule_source *s)
{
	bool names_ports = s->guest_port != 0 || s->guest_port_range[0] != 0;

	return !s->guest_socket && !s->host_socket && names_ports &&
	       (s->proto == RULE_PROTO_TCP || s->proto == RULE_PROTO_UDP);
}

static void check_rest(struct check *c)
{
	const struct rule_source *s = c->source;

	if (s->guest_ip_must_be_zero == RULE_SWITCH_ON && !ipaddr_equal(&c->guest_ip, &v4_any))
		bad(c, "guestIPMustBeZero",
		    "can only be true when field `portForwards[%u].guestIP` is 0.0.0.0", c->index);
	if (s->reverse == RULE_SWITCH_ON && (!s->guest_socket || !s->host_socket) &&
	    !is_reverse_of_ports(s))
		bad(c, "reverse",
		    "must be false, unless guestSocket and hostSocket are both set, or"
		    " guestPort (or guestPortRange) and proto tcp or udp");
	if (s->via == RULE_VIA_SSH && s->proto == RULE_PROTO_UDP)
		bad(c, "via",
		    "ssh does not support protocol udp; use grpc, direct, netns, vsock or auto");
}

static int expand(struct check *c, const char *name, char **text,
		  const struct rule_variable *variables)
{
	char field[PROBLEM_FIELD_SIZE], *expanded;
	int r;

	if (!*text || !strstr(*text, "{{"))
		return 0;
	r = rule_template_expand(*text, variables, &expanded);
	if (r == -EINVAL) {
		(void)snprintf(field, sizeof(field), "portForwards[%u].%s", c->index, name);
		problems_warn(c->problems, field,
			      "has a variable that is not known here: \"%.120s\"", *text);
		return 0;
	}
	if (r < 0)
		return r;
	free(*text);
	*text = expanded;
	return 0;
}

static int make_absolute(struct rule_source *source, const char *dir)
{
	char *path;

	if (!source->host_socket || *source->host_socket == '/' || !dir || !*dir)
		return 0;
	if (asprintf(&path, "%s/%s", dir, source->host_socket) < 0)
		return -ENOMEM;
	free(source->host_socket);
	source->host_socket = path;
	return 0;
}

int rule_from_source(struct rule_source *source, const struct rule_context *context,
		     struct rule *out, struct problems *problems)
{
	struct check c = { .source = source, .problems = problems, .index = context->index };
	unsigned int errors_before = problems->n_errors;

	if (expand(&c, "guestSocket", &source->guest_socket, context->guest_variables) < 0 ||
	    expand(&c, "hostSocket", &source->host_socket, context->host_variables) < 0 ||
	    make_absolute(source, context->socket_dir) < 0)
		return -ENOMEM;
	fill(&c);
	check_ports(&c);
	check_sockets(&c);
	check_rest(&c);
	if (problems->n_errors != errors_before)
		return -EINVAL;
	*out = (struct rule){
		.origin = RULE_ORIGIN_USER,
		.index = context->index,
		.proto = source->proto == RULE_PROTO_DEFAULT ? RULE_PROTO_ANY : source->proto,
		.via = source->via,
		.guest_ip = c.guest_ip,
		.guest_ip_must_be_zero = c.guest_ip_must_be_zero,
		.guest_first = (uint16_t)c.guest.first,
		.guest_last = (uint16_t)c.guest.last,
		.host_ip = c.host_ip,
		.is_host_ip_given = source->host_ip != NULL,
		.host_first = (uint16_t)c.host.first,
		.host_last = (uint16_t)c.host.last,
		.guest_socket = source->guest_socket,
		.host_socket = source->host_socket,
		.is_static = source->is_static == RULE_SWITCH_ON,
		.is_reverse = source->reverse == RULE_SWITCH_ON,
		.is_ignore = source->ignore == RULE_SWITCH_ON,
	};
	return 0;
}
