/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct config_context no_context = { .socket_dir = "/run/netfwd/sock" };

static struct config *parse_good(const char *text)
{
	static struct problems problems;
	struct config *config = NULL;

	problems = (struct problems){ 0 };
	if (config_parse(text, strlen(text), &no_context, &config, &problems) != 0)
		fail_msg("%u:%u %s %s", problems.list[0].line, problems.list[0].column,
			 problems.list[0].field, problems.list[0].text);
	assert_int_equal(problems.n_errors, 0);
	return config;
}

static void every_field_reaches_its_place(void **state)
{
	struct config *c =
		parse_good("network:\n"
			   "  cidr: 10.1.0.0/16\n"
			   "  mtu: 1500\n"
			   "  hostLoopback: false\n"
			   "guest: {netns: demo, ifname: tap0}\n"
			   "ssh:\n"
			   "  host: example\n"
			   "  port: 2222\n"
			   "  localPort: 60022\n"
			   "  user: me\n"
			   "  identityFile: /k\n"
			   "  hostKeyChecking: accept-new\n"
			   "  overVsock: true\n"
			   "  keepalive: {interval: 15, countMax: 4}\n"
			   "agent: {transport: tcp, port: 5000, tokenFile: /t, host: 10.0.0.2}\n"
			   "logging: {level: debug, json: true, pcap: a.pcap}\n"
			   "plain: true\n"
			   "portForwardTypes: {tcp: auto, udp: direct}\n"
			   "portForwards:\n"
			   "- guestIPMustBeZero: true\n"
			   "  guestIP: 0.0.0.0\n"
			   "  guestPort: 80\n"
			   "  hostIP: '::1'\n"
			   "  hostPort: 8080\n"
			   "  proto: udp\n"
			   "  static: true\n"
			   "  via: grpc\n"
			   "- {guestPortRange: [1, 5], hostPortRange: [11, 15], ignore: true}\n"
			   "- {guestSocket: /g, hostSocket: h, reverse: true}\n");
	const struct rule *r = c->rules;
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_string_equal(c->network.cidr, "10.1.0.0/16");
	assert_int_equal(c->network.mtu, 1500);
	assert_int_equal(c->network.host_loopback, RULE_SWITCH_OFF);
	assert_string_equal(c->guest.netns, "demo");
	assert_string_equal(c->guest.ifname, "tap0");
	assert_string_equal(c->ssh.host, "example");
	assert_int_equal(c->ssh.port, 2222);
	assert_int_equal(c->set.ssh_port, 60022);
	assert_string_equal(c->ssh.user, "me");
	assert_string_equal(c->ssh.identity_file, "/k");
	assert_int_equal(c->ssh.host_key_checking, CONFIG_HOST_KEYS_ACCEPT_NEW);
	assert_int_equal(c->ssh.over_vsock, RULE_SWITCH_ON);
	assert_int_equal(c->ssh.keepalive.interval, 15);
	assert_int_equal(c->ssh.keepalive.count_max, 4);
	assert_int_equal(c->agent.transport, CONFIG_AGENT_TCP);
	assert_int_equal(c->agent.port, 5000);
	assert_string_equal(c->agent.token_file, "/t");
	assert_string_equal(c->agent.host, "10.0.0.2");
	assert_int_equal(c->logging.level, CONFIG_LEVEL_DEBUG);
	assert_int_equal(c->logging.json, RULE_SWITCH_ON);
	assert_string_equal(c->logging.pcap, "a.pcap");
	assert_true(c->set.is_plain);
	assert_int_equal(c->set.types.tcp, RULE_VIA_AUTO);
	assert_int_equal(c->set.types.udp, RULE_VIA_DIRECT);
	assert_int_equal(c->set.n_rules, 3);
	assert_true(r[0].guest_ip_must_be_zero && r[0].is_static && r[0].is_host_ip_given);
	assert_string_equal(ipaddr_format(&r[0].host_ip, text), "::1");
	assert_int_equal(r[0].guest_first, 80);
	assert_int_equal(r[0].host_first, 8080);
	assert_int_equal(r[0].proto, RULE_PROTO_UDP);
	assert_int_equal(r[0].via, RULE_VIA_GRPC);
	assert_true(r[1].is_ignore);
	assert_int_equal(r[1].host_last, 15);
	assert_string_equal(r[2].guest_socket, "/g");
	assert_string_equal(r[2].host_socket, "/run/netfwd/sock/h");
	assert_true(r[2].is_reverse);
	config_free(c);
}

static void an_agent_may_be_a_command(void **state)
{
	struct config *c = parse_good("agent: {transport: command, command: [ssh, a, \"b c\"]}\n");

	(void)state;
	assert_int_equal(c->agent.transport, CONFIG_AGENT_COMMAND);
	assert_int_equal(c->agent.n_command, 3);
	assert_string_equal(c->agent.command[0], "ssh");
	assert_string_equal(c->agent.command[2], "b c");
	assert_int_equal(c->set.types.udp, RULE_VIA_AUTO);
	config_free(c);
}

static void nothing_but_defaults(void **state)
{
	static const char *const texts[] = { "{}", "portForwards: []\n", "portForwards:\n",
					     "ssh:\nplain:\nguest: {netns: ~}\n",
					     "---\nplain: false\n...\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config *c = parse_good(texts[i]);

		assert_int_equal(c->set.n_rules, 0);
		assert_int_equal(c->set.types.tcp, RULE_VIA_SSH);
		assert_int_equal(c->set.types.udp, RULE_VIA_GRPC);
		assert_int_equal(c->set.ssh_port, 0);
		assert_false(c->set.is_plain);
		config_free(c);
	}
}

static void a_guest_of_a_shared_network_has_rules_and_ways_of_its_own(void **state)
{
	struct config *c = parse_good("shared:\n"
				      "  guests:\n"
				      "  - name: web\n"
				      "    mac: 02:00:00:00:00:01\n"
				      "    portForwards: [{guestPort: 80, hostPort: 8080}]\n"
				      "    agent: {transport: tcp, tokenFile: /t}\n"
				      "  - name: db\n"
				      "    plain: true\n"
				      "    ssh: {user: me, localPort: 60022}\n"
				      "    vsock: /v\n"
				      "  - mac: 02:00:00:00:00:03\n");
	const struct config_shared_guest *web = config_find_guest(c, "web");
	const struct config_shared_guest *db = config_find_guest(c, "db");
	const struct config_shared_guest *other = config_find_guest(c, "02:00:00:00:00:03");

	(void)state;
	assert_non_null(web);
	assert_int_equal(web->own.set.n_rules, 1);
	assert_int_equal(web->own.set.rules[0].host_first, 8080);
	assert_int_equal(web->own.set.types.tcp, RULE_VIA_AUTO);
	assert_int_equal(web->own.agent.transport, CONFIG_AGENT_TCP);
	assert_non_null(db);
	assert_int_equal(db->own.set.types.tcp, RULE_VIA_SSH);
	assert_int_equal(db->own.set.ssh_port, 60022);
	assert_true(db->own.set.is_plain);
	assert_string_equal(db->own.guest.vsock, "/v");
	assert_non_null(other);
	assert_int_equal(other->own.set.types.udp, RULE_VIA_AUTO);
	assert_null(config_find_guest(c, "nobody"));
	assert_int_equal(c->set.n_rules, 0);
	config_free(c);
}

struct bad {
	const char *text;
	unsigned int line, column;
	const char *field, *why;
};

static const struct bad bad_texts[] = {
	{ "", 0, 0, "", "is empty" },
	{ "# only a comment\n", 0, 0, "", "is empty" },
	{ "a: [", 2, 1, "", "is no YAML" },
	{ "a: b: c", 1, 5, "", "is no YAML" },
	{ "\tplain: true", 1, 1, "", "is no YAML" },
	{ "plain: \x01", 0, 0, "", "is no YAML" },
	{ "plain: \xff\xfe", 0, 0, "", "is no YAML" },
	{ "\xff\xfe{\0}\0", 0, 0, "", "is no YAML" },
	{ "plain: true\n---\nplain: true\n", 0, 0, "", "one YAML document" },
	{ "- plain\n", 1, 1, "", "must be a mapping" },
	{ "shared:\n  guests:\n  - name: a\n    portForwards:\n    - {guestPort: 70000}\n", 5, 19,
	  "shared.guests[0].portForwards[0].guestPort", "must be" },
	{ "shared:\n  guests:\n  - {name: a, agent: {transport: tcp}}\n", 3, 22,
	  "shared.guests[0].agent.tokenFile", "must be set" },
	{ "shared:\n  guests:\n  - {name: a, agent: {transport: vsock}}\n", 3, 34,
	  "shared.guests[0].agent.transport", "the guest has none" },
	{ "shared:\n  guests:\n  - {name: a}\n  - {name: b}\n  - {name: a}\n", 5, 12,
	  "shared.guests[2].name", "is that of shared.guests[0]" },
	{ "shared:\n  guests: [{name: A_b}]\n", 2, 19, "shared.guests[0].name", "must be 1 to 63" },
	{ "shared:\n  range: x\n", 2, 10, "shared.range", "is \"x\"" },
	{ "just text\n", 1, 1, "", "must be a mapping" },
	{ "ssh: &a {}\nagent: *a\n", 0, 0, "", "aliases" },
	{ "plain: true\nssh: {}\nplain: false\n", 3, 1, "plain", "more than once" },
	{ "[1]: 2\n", 1, 1, "", "key that is a list" },
	{ "portforwards: []\n", 1, 1, "portforwards", "did you mean `portForwards`?" },
	{ "ssh:\n  loclPort: 1\n", 2, 3, "ssh.loclPort", "did you mean `localPort`?" },
	{ "ssh:\n  zzzzz: 1\n", 2, 3, "ssh.zzzzz", "known are host, port, localPort" },
	{ "portForwards:\n- guestport: 1\n", 2, 3, "portForwards[0].guestport",
	  "did you mean `guestPort`?" },
	{ "plain: yes\n", 1, 8, "plain", "must be true or false, but is \"yes\"" },
	{ "plain: ''\n", 1, 8, "plain", "must be true or false, but is empty" },
	{ "network: {mtu: 1500x}\n", 1, 16, "network.mtu", "must be a whole number" },
	{ "network: {mtu: 0x600}\n", 1, 16, "network.mtu", "must be a whole number" },
	{ "network: {mtu: 02000}\n", 1, 16, "network.mtu", "must be a whole number" },
	{ "network: {mtu: 99999999999}\n", 1, 16, "network.mtu", "must be a whole number" },
	{ "network: {mtu: [1]}\n", 1, 16, "network.mtu", "but is a list" },
	{ "network: {mtu: 1279}\n", 1, 16, "network.mtu", "1280" },
	{ "network: {cidr: 10.0.0.1/24}\n", 1, 17, "network.cidr", "bits set" },
	{ "network: 3\n", 1, 10, "network", "must be a mapping" },
	{ "guest: {netns: [a]}\n", 1, 16, "guest.netns", "must be a text" },
	{ "guest: {netns: \"a\\tb\"}\n", 1, 16, "guest.netns", "control characters" },
	{ "guest: {netns: \"a\\0b\"}\n", 1, 16, "guest.netns", "control characters" },
	{ "guest: {netns: a, stream: /b}\n", 1, 8, "guest", "at most one" },
	{ "guest: {ifname: a}\n", 1, 17, "guest.ifname", "guest.netns" },
	{ "ssh: {port: 65536}\n", 1, 13, "ssh.port", "1 to 65535" },
	{ "ssh: {localPort: 22}\n", 1, 18, "ssh.localPort", "must not be 22" },
	{ "ssh: {keepalive: {interval: -1}}\n", 1, 29, "ssh.keepalive.interval", "1 to" },
	{ "ssh: {hostKeyChecking: ask}\n", 1, 24, "ssh.hostKeyChecking", "yes, accept-new or no" },
	{ "agent: {transport: unix}\n", 1, 8, "agent.path", "must be set" },
	{ "agent: {port: 3}\n", 1, 15, "agent.port", "vsock or tcp" },
	{ "{agent: {transport: ssh}, ssh: {localPort: 60022}}\n", 1, 21, "agent.transport",
	  "ssh.user" },
	{ "agent: {transport: tcp}\n", 1, 8, "agent.tokenFile", "must be set" },
	{ "agent: {transport: tcp, tokenFile: /t, host: guest}\n", 1, 46, "agent.host",
	  "\"guest\": must be an address" },
	{ "agent: {transport: tcp, tokenFile: /t, host: 0.0.0.0}\n", 1, 46, "agent.host",
	  "must be an address" },
	{ "agent: {transport: vsock, host: 10.0.0.2}\n", 1, 33, "agent.host", "to be tcp" },
	{ "agent: {transport: command}\n", 1, 8, "agent.command", "must be set" },
	{ "agent: {transport: command, command: ['']}\n", 1, 38, "agent.command",
	  "begin with a program" },
	{ "agent: {transport: vsock, command: [a]}\n", 1, 36, "agent.command", "to be command" },
	{ "agent: {transport: tcp, tokenFile: /t, port: 70000}\n", 1, 46, "agent.port",
	  "1 to 65535" },
	{ "logging: {level: loud}\n", 1, 18, "logging.level", "warn, info, debug or trace" },
	{ "portForwardTypes: {any: ssh}\n", 1, 25, "portForwardTypes.any", "protocol udp" },
	{ "portForwardTypes: {tcp: http}\n", 1, 25, "portForwardTypes.tcp",
	  "ssh, grpc, direct, netns, vsock, auto or none" },
	{ "portForwardTypes: {sctp: ssh}\n", 1, 20, "portForwardTypes.sctp", "tcp" },
	{ "portForwards: {}\n", 1, 15, "portForwards", "must be a list" },
	{ "portForwards: [3]\n", 1, 16, "portForwards[0]", "must be a mapping" },
	{ "portForwards:\n- proto: TCP\n", 2, 10, "portForwards[0].proto", "tcp, udp or any" },
	{ "portForwards:\n- via: none\n", 2, 8, "portForwards[0].via", "vsock or auto" },
	{ "portForwards:\n- guestPortRange: [1, 2, 3]\n", 2, 19, "portForwards[0].guestPortRange",
	  "has 3" },
	{ "portForwards:\n- guestPortRange: [1, b]\n", 2, 23, "portForwards[0].guestPortRange[1]",
	  "whole number" },
	{ "portForwards:\n- {}\n- guestPortRange: [5, 22]\n  hostPortRange: [5, 22]\n", 3, 23,
	  "portForwards[1].guestPortRange[1]", "must not be 22" },
	/* after characters of several bytes */
	{ "# \xc3\xa9\xe2\x82\xac\nplain: \"\xc3\xa9\"\nnetwork: {mtu: 1}\n", 2, 8, "plain",
	  "must be true or false" },
};

static bool is_as_expected(const struct bad *bad)
{
	struct problems problems = { 0 };
	const struct problem *first = problems.list;
	struct config *config = NULL;

	assert_int_equal(
		config_parse(bad->text, strlen(bad->text), &no_context, &config, &problems),
		-EINVAL);
	if (problems.n_errors > 0 && first->line == bad->line && first->column == bad->column &&
	    strcmp(first->field, bad->field) == 0 && strstr(first->text, bad->why))
		return true;
	print_error("%s: %u:%u %s: %s\n", bad->text, first->line, first->column, first->field,
		    first->text);
	return false;
}

static void faults_are_named_with_their_place_and_what_is_right(void **state)
{
	unsigned int n_wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++)
		n_wrong += !is_as_expected(&bad_texts[i]);
	assert_int_equal(n_wrong, 0);
}

static void all_faults_come_in_one_run(void **state)
{
	static const char text[] = "network: {mtu: 1, mut: 1500}\n"
				   "portForwards:\n"
				   "- {guestPort: 99999, proto: TCP}\n"
				   "- {guestIP: localhost}\n"
				   "portForwardTypes: {udp: ssh}\n"
				   "logging: 3\n"
				   "ssh: {host: [a], \"port\": x, localPort: 22}\n"
				   "plain: true\n"
				   "plain: false\n";
	static const char *const fields[] = {
		"network.mut",
		"portForwards[0].proto",
		"logging",
		"ssh.host",
		"ssh.port",
		"plain",
		"network.mtu",
		"ssh.localPort",
		"portForwards[0].guestPort",
		"portForwards[1].guestIP",
		"portForwardTypes.udp",
	};
	struct problems problems = { 0 };
	struct config *config = NULL;

	(void)state;
	assert_int_equal(config_parse(text, strlen(text), &no_context, &config, &problems),
			 -EINVAL);
	assert_int_equal(problems.n, 11);
	for (size_t i = 0; i < 11; i++) {
		assert_string_equal(problems.list[i].field, fields[i]);
		assert_int_not_equal(problems.list[i].line, 0);
	}
}

static void a_hundred_thousand_faults_are_bounded(void **state)
{
	static const char line[] = "- {x: 1, guestPort: y}\n";
	const size_t n = 40000;
	char *text = malloc(sizeof("portForwards:\n") + n * sizeof(line));
	struct problems problems = { 0 };
	struct config *config = NULL;
	size_t len;

	(void)state;
	assert_non_null(text);
	len = (size_t)sprintf(text, "portForwards:\n");
	for (size_t i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "%s", line);
	assert_int_equal(config_parse(text, len, &no_context, &config, &problems), -EINVAL);
	assert_int_equal(problems.n, PROBLEMS_MAX);
	assert_int_equal(problems.n_errors, 2 * n + 1); /* too many */
	free(text);
}

static void a_file_full_of_nothing_is_bounded_too(void **state)
{
	const size_t n = 2000;
	char *text = malloc(64 * n);
	struct problems problems = { 0 };
	struct config *config = NULL;
	size_t len;

	(void)state;
	assert_non_null(text);
	len = (size_t)sprintf(text, "portForwards:\n");
	for (size_t i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "- {guestPort: ~, hostIP: ~}\n");
	assert_int_equal(config_parse(text, len, &no_context, &config, &problems), -EINVAL);
	assert_int_equal(problems.n, 1);
	assert_non_null(strstr(problems.list[0].text, "too many"));
	free(text);
}

static void the_environment_counts_and_is_called_deprecated(void **state)
{
	struct config_context context = { .env = { "true", "false" } };
	struct problems problems = { 0 };
	struct config *config = NULL;

	(void)state;
	assert_int_equal(config_parse("{}", 2, &context, &config, &problems), 0);
	assert_int_equal(config->set.types.tcp, RULE_VIA_SSH);
	assert_int_equal(config->set.types.udp, RULE_VIA_NONE);
	assert_int_equal(config->ssh.over_vsock, RULE_SWITCH_OFF);
	assert_int_equal(problems.n_warnings, 2);
	config_free(config);

	context.env.ssh_port_forwarder = "perhaps";
	assert_int_equal(config_parse("{}", 2, &context, &config, &problems), -EINVAL);
}

static void what_is_reached_without_ssh_is_forwarded_by_default(void **state)
{
	static const struct {
		enum config_guest_kind guest;
		const char *yaml;
		enum rule_via tcp, udp;
	} rows[] = {
		{ CONFIG_GUEST_OF_FILE, "{}", RULE_VIA_SSH, RULE_VIA_GRPC },
		{ CONFIG_GUEST_OF_FILE, "guest: {netns: a}", RULE_VIA_AUTO, RULE_VIA_AUTO },
		{ CONFIG_GUEST_NAMESPACE, "{}", RULE_VIA_AUTO, RULE_VIA_AUTO },
		{ CONFIG_GUEST_OTHER, "guest: {netns: a}", RULE_VIA_SSH, RULE_VIA_GRPC },
		{ CONFIG_GUEST_NAMESPACE, "ssh: {user: a}", RULE_VIA_SSH, RULE_VIA_GRPC },
		{ CONFIG_GUEST_NAMESPACE, "agent: {transport: vsock}", RULE_VIA_AUTO,
		  RULE_VIA_AUTO },
		{ CONFIG_GUEST_OTHER, "agent: {transport: vsock}", RULE_VIA_AUTO, RULE_VIA_AUTO },
		{ CONFIG_GUEST_OTHER, "{agent: {transport: serial}, ssh: {user: a}}", RULE_VIA_SSH,
		  RULE_VIA_GRPC },
		{ CONFIG_GUEST_NAMESPACE, "agent: {transport: none}", RULE_VIA_AUTO,
		  RULE_VIA_AUTO },
		{ CONFIG_GUEST_NAMESPACE, "portForwardTypes: {udp: none}", RULE_VIA_SSH,
		  RULE_VIA_NONE },
		{ CONFIG_GUEST_NAMESPACE, "portForwards: [{ignore: true, proto: udp}]",
		  RULE_VIA_AUTO, RULE_VIA_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct config_context context = { .guest = rows[i].guest };
		struct problems problems = { 0 };
		struct config *config = NULL;

		print_message("  %s\n", rows[i].yaml);
		assert_int_equal(config_parse(rows[i].yaml, strlen(rows[i].yaml), &context, &config,
					      &problems),
				 0);
		assert_int_equal(config->set.types.tcp, rows[i].tcp);
		assert_int_equal(config->set.types.udp, rows[i].udp);
		config_free(config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_reaches_its_place),
		cmocka_unit_test(a_guest_of_a_shared_network_has_rules_and_ways_of_its_own),
		cmocka_unit_test(an_agent_may_be_a_command),
		cmocka_unit_test(nothing_but_defaults),
		cmocka_unit_test(faults_are_named_with_their_place_and_what_is_right),
		cmocka_unit_test(all_faults_come_in_one_run),
		cmocka_unit_test(a_hundred_thousand_faults_are_bounded),
		cmocka_unit_test(a_file_full_of_nothing_is_bounded_too),
		cmocka_unit_test(the_environment_counts_and_is_called_deprecated),
		cmocka_unit_test(what_is_reached_without_ssh_is_forwarded_by_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
