/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/verb_config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/config_env.h"
#include "forwarder/json.h"
#include "netstack/base/log.h"

const char verb_check_help[] =
	"Usage: netfwd check --config FILE [--guest NAME]\n"
	"\n"
	"Reports all that is wrong with a configuration, or prints the rules that it\n"
	"makes, in the order in which they are tried. Exit status 1: it is wrong.\n"
	"\n"
	"  --config FILE      netfwd.yaml(5)\n"
	"  --guest NAME       the rules of this guest of a shared network\n"
	"  --ssh-port N       the port of SSH on the host, in place of ssh.localPort\n";

const char verb_explain_help[] =
	"Usage: netfwd explain [--config FILE] [--guest NAME] [--ssh-port N]\n"
	"                      PROTO ADDR:PORT\n"
	"\n"
	"Prints what becomes of a socket that the guest listens on, as one line of\n"
	"JSON: whether it is forwarded, to which address or socket of the host, by\n"
	"which rule (counted from 0; \"builtin\": not of the file) and which way.\n"
	"The way is auto by default if the file names a namespace and no tunnel.\n"
	"\n"
	"  --config FILE      netfwd.yaml(5); without, the built-in rules\n"
	"  --guest NAME       by the rules of this guest of a shared network: its name\n"
	"                     there, or its MAC address if it has none\n"
	"  --ssh-port N       the port of SSH on the host, in place of ssh.localPort\n"
	"\n"
	"Example:\n"
	"  netfwd explain --config netfwd.yaml tcp 127.0.0.1:3000\n";

struct arguments {
	const char *config_path, *guest;
	long ssh_port; /* 0: not given */
	char **rest;
	int n_rest;
};

static long parse_port(const char *text)
{
	size_t len = strspn(text, "0123456789");
	long port = len >= 1 && len <= 5 && !text[len] ? strtol(text, NULL, 10) : 0;

	return port <= UINT16_MAX ? port : 0;
}

static int take_option(struct arguments *a, int option, const char *verb, const char *word)
{
	if (option == 'c') {
		a->config_path = optarg;
		return 0;
	}
	if (option == 'g') {
		a->guest = optarg;
		return 0;
	}
	if (option == 's') {
		a->ssh_port = parse_port(optarg);
		if (a->ssh_port > 0)
			return 0;
		log_error("--ssh-port %s: must be 1 to 65535", optarg);
		return -EINVAL;
	}
	log_error("%s: %s; see netfwd %s --help", word,
		  option == ':' ? "needs a value" : "unknown option", verb);
	return -EINVAL;
}

static int parse_arguments(int argc, char *argv[], struct arguments *out)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "guest", required_argument, NULL, 'g' },
		{ "ssh-port", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*out = (struct arguments){ 0 };
	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (take_option(out, option, argv[0], argv[optind - 1]) < 0)
			return -EINVAL;
	}
	out->rest = argv + optind;
	out->n_rest = argc - optind;
	return 0;
}

/* The part of the file that the rules are of; NULL, told: it has no such guest. */
static struct config *choose_guest(struct config *config, const char *name)
{
	struct config_shared_guest *guest;

	if (!name && config->shared && config->shared->n_guests)
		log_info("of the shared network's guests each has its own rules: --guest NAME");
	if (!name)
		return config;
	guest = config_find_guest(config, name);
	if (!guest)
		log_error("--guest %s: there is none of that name in shared.guests", name);
	return guest ? &guest->own : NULL;
}

/* *of is what is asked about, a part of *whole, which is to be freed. */
static int read_config(const struct arguments *a, struct config **whole, struct config **of)
{
	int r = config_env_read(a->config_path, CONFIG_GUEST_OF_FILE, whole);

	if (r < 0)
		return r;
	*of = choose_guest(*whole, a->guest);
	if (!*of) {
		config_free(*whole);
		return -ENOENT;
	}
	if (a->ssh_port > 0)
		(*of)->set.ssh_port = (uint16_t)a->ssh_port;
	return 0;
}

static void print_side(const char *socket, const struct ipaddr *addr, uint16_t first, uint16_t last)
{
	char text[ADDR_TEXT_SIZE];

	if (socket) {
		printf("%s", socket);
		return;
	}
	printf("%s", endpoint_format(&(struct endpoint){ *addr, first }, text));
	if (last != first)
		printf("-%u", last);
}

static void print_rule(const struct rule *rule)
{
	bool is_any_way = rule->via == RULE_VIA_DEFAULT;

	printf("portForwards[%u]: %s ", rule->index, rule_proto_name(rule->proto));
	if (rule->guest_socket)
		printf("guest %s", rule->guest_socket);
	else if (ipaddr_is_any(&rule->guest_ip) && !rule->guest_ip_must_be_zero)
		printf("guest *:%u-%u", rule->guest_first, rule->guest_last);
	else {
		printf("guest ");
		print_side(NULL, &rule->guest_ip, rule->guest_first, rule->guest_last);
	}
	if (rule->is_ignore) {
		printf(" ignored\n");
		return;
	}
	printf(" %s host ", rule->is_reverse ? "<-" : "->");
	print_side(rule->host_socket, &rule->host_ip, rule->host_first, rule->host_last);
	printf("%s%s%s\n", is_any_way ? "" : " via ", is_any_way ? "" : rule_via_name(rule->via),
	       rule->is_static ? " static" : "");
}

static void print_config(const struct config *config)
{
	printf("builtin: any guest *:22 ignored\n");
	if (config->set.ssh_port)
		printf("builtin: any guest *:%u ignored\n", config->set.ssh_port);
	for (unsigned int i = 0; i < config->set.n_rules; i++)
		print_rule(&config->set.rules[i]);
	printf("builtin: any guest 127.0.0.1:1-65535 -> host 127.0.0.1:1-65535\n");
	printf("tcp via %s, udp via %s%s\n", rule_via_name(config->set.types.tcp),
	       rule_via_name(config->set.types.udp),
	       config->plain == RULE_SWITCH_ON ? "; plain: static rules only" : "");
}

int verb_check(int argc, char *argv[])
{
	struct arguments a;
	struct config *whole, *config;

	if (parse_arguments(argc, argv, &a) < 0)
		return EXIT_FAILURE;
	if (!a.config_path || a.n_rest > 0) {
		log_error("%s; see netfwd check --help",
			  a.config_path ? "too many arguments" : "--config FILE is missing");
		return EXIT_FAILURE;
	}
	if (read_config(&a, &whole, &config) < 0)
		return EXIT_FAILURE;
	print_config(config);
	config_free(whole);
	return EXIT_SUCCESS;
}

static void put_rule(struct json_writer *w, const struct rule_decision *d)
{
	switch (d->origin) {
	case RULE_ORIGIN_USER:
		json_put_integer(w, "rule", d->index);
		return;
	case RULE_ORIGIN_BUILTIN:
		json_put_string(w, "rule", "builtin");
		return;
	case RULE_ORIGIN_OPTION:
		json_put_string(w, "rule", "option");
		return;
	case RULE_ORIGIN_NONE:
		json_put_string(w, "rule", NULL);
		return;
	}
}

static int print_decision(const char *proto, const char *guest, const struct rule_decision *d)
{
	struct json_writer *w = json_writer_new();
	char text[ADDR_TEXT_SIZE], *line;
	int r;

	json_open_object(w, NULL);
	json_put_string(w, "proto", proto);
	json_put_string(w, "guest", guest);
	json_put_bool(w, "forward", d->is_forward);
	if (d->is_forward)
		json_put_string(w, "host",
				d->host_socket ? d->host_socket : endpoint_format(&d->host, text));
	if (d->is_forward && d->has_also)
		json_put_string(w, "also", endpoint_format(&d->also, text));
	put_rule(w, d);
	if (d->is_forward)
		json_put_string(w, "via", rule_via_name(d->via));
	line = json_writer_finish(w);
	if (!line) {
		log_error("out of memory");
		return -ENOMEM;
	}
	r = puts(line) < 0 ? -EIO : 0;
	free(line);
	return r;
}

int verb_explain(int argc, char *argv[])
{
	struct rule_decision decision;
	struct rule_listener listener;
	struct arguments a;
	struct config *whole, *config;
	int r;

	if (parse_arguments(argc, argv, &a) < 0)
		return EXIT_FAILURE;
	if (a.n_rest != 2) {
		log_error("PROTO and ADDR:PORT, please; see netfwd explain --help");
		return EXIT_FAILURE;
	}
	if (rule_listener_parse(a.rest[0], a.rest[1], &listener) < 0) {
		log_error("must be tcp or udp, and an address with a port such as "
			  "127.0.0.1:3000 or [::]:53");
		return EXIT_FAILURE;
	}
	if (read_config(&a, &whole, &config) < 0)
		return EXIT_FAILURE;
	decision = rule_decide(&config->set, &listener);
	r = print_decision(a.rest[0], a.rest[1], &decision);
	config_free(whole);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
