/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/control_decode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/json.h"

int control_via_parse(const char *name, enum rule_via *out)
{
	static const enum rule_via ways[] = { RULE_VIA_AUTO, RULE_VIA_DIRECT, RULE_VIA_NETNS,
					      RULE_VIA_SSH,  RULE_VIA_GRPC,   RULE_VIA_VSOCK };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(rule_via_name(ways[i]), name) == 0) {
			*out = ways[i];
			return 0;
		}
	}
	return -EINVAL;
}

__attribute__((format(printf, 2, 3))) static int bad(char *error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(error, CONTROL_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The document, an object with no member but the known ones. */
static struct json *parse_object(const char *body, size_t len, const char *const known[],
				 char *error)
{
	char why[JSON_ERROR_SIZE] = "";
	struct json *json = json_parse(body, len, why);
	const char *key;

	if (!json) {
		(void)bad(error, "%s", why);
		return NULL;
	}
	key = json_unknown_key(json, known);
	if (!json_is_an_object(json))
		(void)bad(error, "the body is no JSON object");
	else if (key)
		(void)bad(error, "unknown member \"%.60s\"", key);
	else
		return json;
	json_free(json);
	return NULL;
}

/* ---- a forward ---- */

/* Whether it ends with a port and has no colon but the one before it: that both
 * ends are not in one member. */
static bool is_one_end(const char *text)
{
	const char *bracket = strrchr(text, ']');
	const char *colon = strchr(bracket ? bracket : text, ':');
	const char *port = colon ? colon + 1 : text;

	return *port && port[strspn(port, "0123456789-")] == '\0';
}

static int get_end(const struct json *json, const char *key, const char **out, char *error)
{
	const char *text = json_as_string(json_member(json, key));

	if (!text || !*text)
		return bad(error, "\"%s\" is missing, or no string: [ADDRESS:]PORT", key);
	if (!is_one_end(text))
		return bad(error,
			   "%s \"%.80s\": must be [ADDRESS:]PORT, an IPv6 address in brackets", key,
			   text);
	*out = text;
	return 0;
}

static int get_spec(const struct json *json, struct forward_spec *out, char *error)
{
	const char *proto = json_as_string(json_member(json, "proto")), *host = NULL, *guest = NULL;
	char text[256], why[FORWARD_SPEC_ERROR_SIZE];
	int len;

	if (!proto || (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0))
		return bad(error, "\"proto\" must be \"tcp\" or \"udp\"");
	if (get_end(json, "host", &host, error) < 0 || get_end(json, "guest", &guest, error) < 0)
		return -EINVAL;
	len = snprintf(text, sizeof(text), "%s:%s:%s", proto, host, guest);
	if (len < 0 || (size_t)len >= sizeof(text))
		return bad(error, "\"host\" and \"guest\" are longer than any address and port");
	if (forward_spec_parse(text, out, why) < 0)
		return bad(error, "%s: %s", text, why);
	return 0;
}

static int get_via(const struct json *json, enum rule_via *out, char *error)
{
	const struct json *via = json_member(json, "via");
	const char *name = json_as_string(via);

	*out = RULE_VIA_DEFAULT;
	if (!via)
		return 0;
	if (!name || control_via_parse(name, out) < 0)
		return bad(error, "\"via\" must be \"auto\", \"direct\", \"netns\", \"vsock\", "
				  "\"grpc\" or \"ssh\", or missing");
	return 0;
}

int control_decode_forward(const char *body, size_t len, struct control_forward *out,
			   char error[static CONTROL_ERROR_SIZE])
{
	static const char *const known[] = { "proto", "host", "guest", "via", NULL };
	struct json *json = parse_object(body, len, known, error);
	int r;

	if (!json)
		return -EINVAL;
	r = get_spec(json, &out->spec, error);
	if (r == 0)
		r = get_via(json, &out->via, error);
	json_free(json);
	return r;
}

/* ---- a report ---- */

static int get_listener(const struct json *json, struct rule_listener *out, char *error)
{
	static const char *const known[] = { "protocol", "ip", "port", NULL };
	const char *protocol = json_as_string(json_member(json, "protocol"));
	const char *ip = json_as_string(json_member(json, "ip"));
	const char *unknown = json_unknown_key(json, known);
	int64_t port;

	if (!json_is_an_object(json))
		return bad(error, ": is no object");
	if (unknown)
		return bad(error, ": unknown member \"%.60s\"", unknown);
	if (protocol && strcmp(protocol, "tcp") == 0)
		out->proto = FORWARD_TCP;
	else if (protocol && strcmp(protocol, "udp") == 0)
		out->proto = FORWARD_UDP;
	else
		return bad(error, ".protocol: must be \"tcp\" or \"udp\"");
	if (!ip || ipaddr_parse(ip, &out->guest.addr) < 0)
		return bad(error, ".ip: must be an IPv4 or IPv6 address, not \"%.60s\"",
			   ip ? ip : "");
	if (!json_as_integer(json_member(json, "port"), &port) || port < 1 || port > 65535)
		return bad(error, ".port: must be a number from 1 to 65535");
	out->guest.port = (uint16_t)port;
	return 0;
}

static int get_listeners(const struct json *array, const char *key, struct rule_listener *out,
			 char *error)
{
	char why[CONTROL_ERROR_SIZE];

	for (size_t i = 0; i < json_length(array); i++) {
		if (get_listener(json_element(array, i), &out[i], why) < 0)
			return bad(error, "%s[%zu]%.400s", key, i, why);
	}
	return 0;
}

static int get_report(const struct json *added, const struct json *removed,
		      struct control_report *out, char *error)
{
	size_t n_added = json_length(added), n_removed = json_length(removed);
	int r;

	if ((added && !json_is_an_array(added)) || (removed && !json_is_an_array(removed)))
		return bad(error, "\"added\" and \"removed\" must be arrays");
	if (n_added + n_removed > CONTROL_LISTENERS_MAX) {
		(void)bad(error, "%zu entries; a report may have %d", n_added + n_removed,
			  CONTROL_LISTENERS_MAX);
		return -E2BIG;
	}
	/* one more: an empty report is none that failed */
	out->listeners = calloc(n_added + n_removed + 1, sizeof(*out->listeners));
	if (!out->listeners) {
		(void)bad(error, "out of memory");
		return -ENOMEM;
	}
	out->n_added = n_added;
	out->n_removed = n_removed;
	r = get_listeners(added, "added", out->listeners, error);
	if (r == 0)
		r = get_listeners(removed, "removed", out->listeners + n_added, error);
	if (r < 0)
		control_report_deinit(out);
	return r;
}

int control_decode_report(const char *body, size_t len, struct control_report *out,
			  char error[static CONTROL_ERROR_SIZE])
{
	static const char *const known[] = { "added", "removed", NULL };
	struct json *json = parse_object(body, len, known, error);
	int r;

	*out = (struct control_report){ .listeners = NULL };
	if (!json)
		return -EINVAL;
	r = get_report(json_member(json, "added"), json_member(json, "removed"), out, error);
	json_free(json);
	return r;
}

void control_report_deinit(struct control_report *report)
{
	free(report->listeners);
	*report = (struct control_report){ .listeners = NULL };
}
