/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/verb_control.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/control_client.h"
#include "forwarder/control_decode.h"
#include "forwarder/forward_spec.h"
#include "forwarder/json.h"
#include "forwarder/status_text.h"
#include "netstack/base/log.h"

#define CONTROL_HELP                                                                     \
	"  --control PATH  the control socket of that netfwd (default: the user's, in\n" \
	"                  $XDG_RUNTIME_DIR/netfwd)\n"

const char verb_status_help[] =
	"Usage: netfwd status [OPTION]...\n"
	"\n"
	"What a running netfwd does: its guests, and every port of the host with where\n"
	"it leads, what goes through it and the last error.\n"
	"\n"
	"  --json          as one JSON object, counters included\n" CONTROL_HELP "\n"
	"Examples:\n"
	"  netfwd status\n"
	"  netfwd status --json --control /run/vm1/control.sock\n";

const char verb_expose_help[] =
	"Usage: netfwd expose [OPTION]... PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT\n"
	"\n"
	"Opens a port of the host, as --forward does, in a running netfwd. It stays open\n"
	"until unexpose or that netfwd's end.\n"
	"\n"
	"  --via WAY       auto, direct, netns, vsock, grpc or ssh (default: auto)\n" CONTROL_HELP
	"\n"
	"Examples:\n"
	"  netfwd expose tcp:8080:80\n"
	"  netfwd expose --via direct udp:127.0.0.1:5353:53\n";

const char verb_unexpose_help[] =
	"Usage: netfwd unexpose [OPTION]... PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT\n"
	"\n"
	"Closes what expose opened; the argument is the same.\n"
	"\n" CONTROL_HELP "\n"
	"Example:\n"
	"  netfwd unexpose tcp:8080:80\n";

const char verb_events_help[] =
	"Usage: netfwd events [OPTION]...\n"
	"\n"
	"The last events of a running netfwd, at most 256, a JSON object per line.\n"
	"\n"
	"  -f, --follow    and those to come, until interrupted\n" CONTROL_HELP "\n"
	"Example:\n"
	"  netfwd events --follow\n";

const char verb_reload_help[] =
	"Usage: netfwd reload [OPTION]...\n"
	"\n"
	"Has a running netfwd read its configuration again and change what differs. Open\n"
	"connections stay. If the file has an error, that is said and nothing changes.\n"
	"\n" CONTROL_HELP "\n"
	"Example:\n"
	"  netfwd reload\n";

const char verb_ip_help[] =
	"Usage: netfwd ip [OPTION]... [GUEST]\n"
	"\n"
	"The addresses of the guests of a netfwd --shared: a line for each guest, its name\n"
	"first, or of one guest, named by its name or MAC address, an address a line.\n"
	"\n" CONTROL_HELP "\n"
	"Examples:\n"
	"  netfwd ip\n"
	"  ssh \"$(netfwd ip web | head -n 1)\"\n";

enum verb_option {
	VERB_CONTROL = 256, /* above every short option */
	VERB_JSON,
	VERB_VIA,
};

struct arguments {
	const char *socket;
	const char *via;
	bool as_json;
	bool is_following;
	const char *rest; /* the one that is no option; NULL */
};

static int take_option(struct arguments *a, int option)
{
	switch (option) {
	case VERB_CONTROL:
		a->socket = optarg;
		return 0;
	case VERB_JSON:
		a->as_json = true;
		return 0;
	case VERB_VIA:
		a->via = optarg;
		return 0;
	case 'f':
		a->is_following = true;
		return 0;
	default:
		return -1;
	}
}

enum argument { NO_ARGUMENT, MAY_HAVE_ARGUMENT, MUST_HAVE_ARGUMENT };

/* A verb with or without an argument, and its options. Logs what is wrong. */
static int parse(int argc, char *argv[], const struct option options[], enum argument argument,
		 struct arguments *out)
{
	int most = argument != NO_ARGUMENT;
	bool has_follow = strcmp(argv[0], "events") == 0;
	int option;

	*out = (struct arguments){ .socket = NULL };
	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while ((option = getopt_long(argc, argv, has_follow ? ":f" : ":", options, NULL)) != -1) {
		if (take_option(out, option) < 0) {
			log_error("%s: %s; see netfwd %s --help", argv[optind - 1],
				  option == ':' ? "a value is missing" : "unknown option", argv[0]);
			return -1;
		}
	}
	out->rest = optind < argc ? argv[optind] : NULL;
	if (argc - optind > most) {
		log_error("unexpected argument \"%s\"; see netfwd %s --help", argv[optind + most],
			  argv[0]);
		return -1;
	}
	if (out->rest || argument != MUST_HAVE_ARGUMENT)
		return 0;
	log_error("the forward is missing; see netfwd %s --help", argv[0]);
	return -1;
}

static int perform(const struct control_call *call)
{
	char error[CONTROL_CLIENT_ERROR_SIZE];

	if (control_client_call(call, error) == 0)
		return EXIT_SUCCESS;
	log_error("%s", error);
	return EXIT_FAILURE;
}

static void print_body(void *arg, const char *data, size_t len)
{
	(void)fwrite(data, 1, len, arg);
	(void)fflush(arg);
}

static void ignore_body(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
}

#define CONTROL_OPTION                                           \
	{                                                        \
		"control", required_argument, NULL, VERB_CONTROL \
	}
#define END_OF_OPTIONS           \
	{                        \
		NULL, 0, NULL, 0 \
	}

/* ---- status ---- */

/* NULL, logged. */
static struct json *fetch_status(const char *socket)
{
	struct control_call call = {
		.socket = socket, .method = "GET", .path = "/v1/status", .on_body = print_body
	};
	char error[JSON_ERROR_SIZE], *text = NULL;
	struct json *status = NULL;
	size_t len = 0;
	int r;

	call.arg = open_memstream(&text, &len);
	if (!call.arg) {
		log_error("out of memory");
		return NULL;
	}
	r = perform(&call);
	if (fclose(call.arg) == 0 && r == EXIT_SUCCESS) {
		status = json_parse(text, len, error);
		if (!status)
			log_error("netfwd's answer is %s", error);
	}
	free(text);
	return status;
}

int verb_status(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, VERB_JSON },
		CONTROL_OPTION,
		END_OF_OPTIONS,
	};
	struct control_call call = {
		.method = "GET", .path = "/v1/status", .on_body = print_body, .arg = stdout
	};
	struct arguments a;
	struct json *status;
	int r;

	if (parse(argc, argv, options, NO_ARGUMENT, &a) < 0)
		return EXIT_FAILURE;
	call.socket = a.socket;
	if (a.as_json)
		return perform(&call);
	status = fetch_status(a.socket);
	if (!status)
		return EXIT_FAILURE;
	r = status_text_print(status, stdout);
	json_free(status);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- ip ---- */

static const char *text_of(const struct json *guest, const char *key)
{
	const char *text = json_as_string(json_member(guest, key));

	return text ? text : "";
}

/* "a b" as two lines, or as what follows a name. */
static int print_addresses(const char *name, const char *addresses)
{
	if (name)
		return printf("%s %s\n", name, addresses);
	for (; *addresses; addresses += strspn(addresses, " ")) {
		int len = (int)strcspn(addresses, " ");

		if (printf("%.*s\n", len, addresses) < 0)
			return -1;
		addresses += len;
	}
	return 0;
}

static int print_ip(const struct json *guests, const char *wanted)
{
	bool is_found = !wanted;

	for (size_t i = 0; i < json_length(guests); i++) {
		const struct json *guest = json_element(guests, i);
		const char *name = text_of(guest, "name");

		if (wanted && strcmp(wanted, name) != 0 &&
		    strcmp(wanted, text_of(guest, "mac")) != 0)
			continue;
		is_found = true;
		if (print_addresses(wanted ? NULL : name, text_of(guest, "addresses")) < 0)
			return EXIT_FAILURE;
	}
	if (!is_found)
		log_error("no guest \"%s\"; `netfwd ip` shows those there are", wanted);
	return is_found ? EXIT_SUCCESS : EXIT_FAILURE;
}

int verb_ip(int argc, char *argv[])
{
	static const struct option options[] = { CONTROL_OPTION, END_OF_OPTIONS };
	struct json *status;
	struct arguments a;
	int r;

	if (parse(argc, argv, options, MAY_HAVE_ARGUMENT, &a) < 0)
		return EXIT_FAILURE;
	status = fetch_status(a.socket);
	if (!status)
		return EXIT_FAILURE;
	r = print_ip(json_member(status, "guests"), a.rest);
	json_free(status);
	return r;
}

/* ---- expose, unexpose ---- */

/* PORT, ADDR:PORT, PORT-LAST or ADDR:PORT-LAST; the address :: stands for the
 * guest's own. */
static void put_end(struct json_writer *w, const char *key, const struct endpoint *end,
		    unsigned int n_ports)
{
	char address[ADDR_TEXT_SIZE], text[2 * ADDR_TEXT_SIZE];
	int len;

	if (ipaddr_equal(&end->addr, &IPADDR_V6_ANY) && strcmp(key, "guest") == 0)
		(void)snprintf(address, sizeof(address), "%u", end->port);
	else
		(void)endpoint_format(end, address);
	len = snprintf(text, sizeof(text), "%s", address);
	if (n_ports > 1)
		(void)snprintf(text + len, sizeof(text) - (size_t)len, "-%u",
			       end->port + n_ports - 1);
	json_put_string(w, key, text);
}

static char *forward_body(const struct forward_spec *spec, const char *via)
{
	struct json_writer *w = json_writer_new();

	json_open_object(w, NULL);
	json_put_string(w, "proto", forward_proto_name(spec->proto));
	put_end(w, "host", &spec->host, spec->n_ports);
	put_end(w, "guest", &spec->guest, spec->n_ports);
	if (via)
		json_put_string(w, "via", via);
	return json_writer_finish(w);
}

static int send_forward(const char *method, const struct arguments *a)
{
	struct control_call call = {
		.socket = a->socket,
		.method = method,
		.path = "/v1/forwards",
		.on_body = ignore_body,
	};
	char error[FORWARD_SPEC_ERROR_SIZE], *body;
	struct forward_spec spec;
	enum rule_via via;
	int status;

	if (forward_spec_parse(a->rest, &spec, error) < 0) {
		log_error("%s: %s", a->rest, error);
		return EXIT_FAILURE;
	}
	if (a->via && control_via_parse(a->via, &via) < 0) {
		log_error("--via %s: must be auto, direct, netns, vsock, grpc or ssh", a->via);
		return EXIT_FAILURE;
	}
	body = forward_body(&spec, a->via);
	if (!body) {
		log_error("out of memory");
		return EXIT_FAILURE;
	}
	call.body = body;
	status = perform(&call);
	free(body);
	return status;
}

int verb_expose(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "via", required_argument, NULL, VERB_VIA },
		CONTROL_OPTION,
		END_OF_OPTIONS,
	};
	struct arguments a;

	return parse(argc, argv, options, MUST_HAVE_ARGUMENT, &a) < 0 ? EXIT_FAILURE :
									send_forward("POST", &a);
}

int verb_unexpose(int argc, char *argv[])
{
	static const struct option options[] = { CONTROL_OPTION, END_OF_OPTIONS };
	struct arguments a;

	return parse(argc, argv, options, MUST_HAVE_ARGUMENT, &a) < 0 ? EXIT_FAILURE :
									send_forward("DELETE", &a);
}

/* ---- events, reload ---- */

int verb_events(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "follow", no_argument, NULL, 'f' },
		CONTROL_OPTION,
		END_OF_OPTIONS,
	};
	struct control_call call = { .method = "GET", .on_body = print_body, .arg = stdout };
	struct arguments a;

	if (parse(argc, argv, options, NO_ARGUMENT, &a) < 0)
		return EXIT_FAILURE;
	call.socket = a.socket;
	call.is_endless = a.is_following;
	call.path = a.is_following ? "/v1/events?follow=1" : "/v1/events";
	return perform(&call);
}

int verb_reload(int argc, char *argv[])
{
	static const struct option options[] = { CONTROL_OPTION, END_OF_OPTIONS };
	struct control_call call = {
		.method = "POST",
		.path = "/v1/reload",
		.on_body = ignore_body,
	};
	struct arguments a;

	if (parse(argc, argv, options, NO_ARGUMENT, &a) < 0)
		return EXIT_FAILURE;
	call.socket = a.socket;
	return perform(&call);
}
