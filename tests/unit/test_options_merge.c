/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/options_merge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ARGS 16

static const char full[] = "guest: {netns: demo, ifname: tap0}\n"
			   "network: {cidr: 10.1.0.0/16, mtu: 1400, hostLoopback: false}\n"
			   "logging: {level: debug, json: true, pcap: file.pcap}\n"
			   "ssh: {localPort: 60022}\n"
			   "portForwards: [{guestPort: 80, hostPort: 8080}]\n";

struct both {
	char line[512];
	char *argv[MAX_ARGS];
	struct options options;
	struct config *config;
	char error[OPTIONS_ERROR_SIZE];
};

static int merge(struct both *b, const char *arguments, const char *yaml)
{
	const struct config_context context = { 0 };
	struct problems problems = { 0 };
	char *save = NULL;
	int argc = 0;

	b->error[0] = '\0';
	(void)snprintf(b->line, sizeof(b->line), "netfwd --config a.yaml %s", arguments);
	for (char *word = strtok_r(b->line, " ", &save); word && argc < MAX_ARGS - 1;
	     word = strtok_r(NULL, " ", &save))
		b->argv[argc++] = word;
	b->argv[argc] = NULL;
	if (options_parse(argc, b->argv, &b->options, b->error) != 0)
		fail_msg("%s", b->error);
	assert_string_equal(b->options.config_path, "a.yaml");
	assert_int_equal(config_parse(yaml, strlen(yaml), &context, &b->config, &problems), 0);
	return options_merge(&b->options, b->config, b->error);
}

static void both_deinit(struct both *b)
{
	options_deinit(&b->options);
	config_free(b->config);
}

static void the_file_fills_what_the_command_line_leaves_open(void **state)
{
	char text[ADDR_TEXT_SIZE];
	struct both b;

	(void)state;
	assert_int_equal(merge(&b, "", full), 0);
	assert_ptr_equal(b.options.config, b.config);
	assert_int_equal(b.options.link, OPTIONS_LINK_NETNS);
	assert_string_equal(b.options.netns, "demo");
	assert_string_equal(b.options.ifname, "tap0");
	assert_string_equal(ipaddr_format(&b.options.network4, text), "10.1.0.0");
	assert_int_equal(b.options.prefix4_bits, 16);
	assert_int_equal(b.options.mtu, 1400);
	assert_false(b.options.host_loopback);
	assert_int_equal(b.options.verbosity, 0); /* what the log is to be may change */
	assert_string_equal(b.options.pcap_path, "file.pcap");
	both_deinit(&b);
}

static void the_command_line_goes_first(void **state)
{
	char text[ADDR_TEXT_SIZE];
	struct both b;

	(void)state;
	assert_int_equal(merge(&b,
			       "--stream /s --mtu 65520 --network 10.2.0.0/24 -v --pcap line.pcap",
			       full),
			 0);
	assert_int_equal(b.options.link, OPTIONS_LINK_STREAM);
	assert_string_equal(b.options.link_path, "/s");
	assert_null(b.options.netns);
	assert_int_equal(b.options.mtu, 65520);
	assert_string_equal(ipaddr_format(&b.options.network4, text), "10.2.0.0");
	assert_int_equal(b.options.verbosity, 1);
	assert_string_equal(b.options.pcap_path, "line.pcap");
	both_deinit(&b);

	assert_int_equal(merge(&b, "--ifname eth7", full), 0);
	assert_string_equal(b.options.netns, "demo");
	assert_string_equal(b.options.ifname, "eth7");
	both_deinit(&b);
}

static void an_empty_file_changes_nothing(void **state)
{
	struct both b;

	(void)state;
	assert_int_equal(merge(&b, "", "{}"), 0);
	assert_int_equal(b.options.link, OPTIONS_LINK_USER);
	assert_int_equal(b.options.mtu, 0);
	assert_true(b.options.host_loopback);
	assert_int_equal(b.options.verbosity, 0);
	assert_null(b.options.pcap_path);
	both_deinit(&b);
}

static void each_guest_of_the_file_chooses_its_link(void **state)
{
	struct both b;

	(void)state;
	assert_int_equal(merge(&b, "", "guest: {stream: /s}"), 0);
	assert_int_equal(b.options.link, OPTIONS_LINK_STREAM);
	assert_string_equal(b.options.link_path, "/s");
	both_deinit(&b);
	assert_int_equal(merge(&b, "", "guest: {dgram: /d}"), 0);
	assert_int_equal(b.options.link, OPTIONS_LINK_DGRAM);
	assert_string_equal(b.options.link_path, "/d");
	both_deinit(&b);
	assert_int_equal(merge(&b, "", "guest: {vhostUser: /v}"), 0);
	assert_int_equal(b.options.link, OPTIONS_LINK_VHOST_USER);
	assert_string_equal(b.options.link_path, "/v");
	both_deinit(&b);
}

static void an_interface_name_needs_a_namespace_from_either(void **state)
{
	struct both b;

	(void)state;
	assert_int_equal(merge(&b, "--ifname eth7", "{}"), -EINVAL);
	assert_non_null(strstr(b.error, "guest.netns"));
	both_deinit(&b);
}

static void forwards_of_the_command_line_are_the_first_rules(void **state)
{
	struct rule_set set;
	struct rule *rules;
	struct both b;

	(void)state;
	assert_int_equal(merge(&b, "--forward tcp:81:81 --forward udp:82:82", full), 0);
	assert_int_equal(options_rules(&b.options, b.config, &rules, &set), 0);
	assert_int_equal(set.n_rules, 3);
	assert_int_equal(set.rules[0].origin, RULE_ORIGIN_OPTION);
	assert_int_equal(set.rules[0].guest_first, 81);
	assert_true(set.rules[0].is_static);
	assert_int_equal(set.rules[0].via, RULE_VIA_DIRECT);
	assert_int_equal(set.rules[1].origin, RULE_ORIGIN_OPTION);
	assert_int_equal(set.rules[1].index, 1);
	assert_int_equal(set.rules[2].origin, RULE_ORIGIN_USER);
	assert_int_equal(set.rules[2].index, 0);
	assert_int_equal(set.ssh_port, 60022);
	free(rules);

	assert_int_equal(options_rules(&b.options, NULL, &rules, &set), 0);
	assert_int_equal(set.n_rules, 2);
	assert_int_equal(set.types.tcp, RULE_VIA_AUTO); /* the guest is a namespace */
	assert_int_equal(set.types.udp, RULE_VIA_AUTO);
	free(rules);
	b.options.link = OPTIONS_LINK_STREAM;
	assert_int_equal(options_rules(&b.options, NULL, &rules, &set), 0);
	assert_int_equal(set.types.tcp, RULE_VIA_SSH);
	assert_int_equal(set.types.udp, RULE_VIA_GRPC);
	free(rules);
	both_deinit(&b);
}

static void the_kind_of_guest_is_known_when_either_has_said_it(void **state)
{
	static const struct {
		const char *arguments, *yaml;
		enum config_guest_kind expected;
	} rows[] = {
		{ "", "{}", CONFIG_GUEST_OTHER },
		{ "", "guest: {netns: a}", CONFIG_GUEST_NAMESPACE },
		{ "--netns b", "{}", CONFIG_GUEST_NAMESPACE },
		{ "--stream /a", "guest: {netns: a}", CONFIG_GUEST_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct both b;

		assert_int_equal(merge(&b, rows[i].arguments, rows[i].yaml), 0);
		assert_int_equal(options_guest_kind(&b.options), rows[i].expected);
		both_deinit(&b);
	}
}

static void an_agent_needs_the_way_that_it_is_reached_by(void **state)
{
	static const struct {
		const char *arguments, *yaml;
		int expected;
	} rows[] = {
		{ "", "agent: {transport: serial}", -EINVAL },
		{ "--stream /a", "agent: {transport: serial}", -EINVAL },
		{ "--stream /a", "agent: {transport: serial, path: /b}", 0 },
		{ "--vsock-cid 3", "agent: {transport: vsock}", 0 },
		{ "", "{agent: {transport: vsock}, guest: {vsockCid: 3}}", 0 },
		{ "", "agent: {transport: vsock}", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct both b;

		assert_int_equal(merge(&b, rows[i].arguments, rows[i].yaml), rows[i].expected);
		if (rows[i].expected < 0)
			assert_non_null(strstr(b.error, "agent."));
		both_deinit(&b);
	}
}

static void polling_needs_a_device_in_the_guests_memory(void **state)
{
	static const struct {
		const char *arguments, *yaml;
		int expected;
	} rows[] = {
		{ "", "guest: {vhostUser: n, busyPoll: 50}", 0 },
		{ "--vsock v", "guest: {stream: n, busyPoll: 50}", 0 },
		{ "--busy-poll 50", "guest: {stream: n}", -EINVAL },
		{ "", "guest: {stream: n, busyPoll: 50}", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct both b;

		assert_int_equal(merge(&b, rows[i].arguments, rows[i].yaml), rows[i].expected);
		if (rows[i].expected < 0)
			assert_non_null(strstr(b.error, "guest.busyPoll"));
		else
			assert_int_equal(b.options.busy_poll_us, 50);
		both_deinit(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_fills_what_the_command_line_leaves_open),
		cmocka_unit_test(the_command_line_goes_first),
		cmocka_unit_test(an_empty_file_changes_nothing),
		cmocka_unit_test(each_guest_of_the_file_chooses_its_link),
		cmocka_unit_test(an_interface_name_needs_a_namespace_from_either),
		cmocka_unit_test(the_kind_of_guest_is_known_when_either_has_said_it),
		cmocka_unit_test(an_agent_needs_the_way_that_it_is_reached_by),
		cmocka_unit_test(polling_needs_a_device_in_the_guests_memory),
		cmocka_unit_test(forwards_of_the_command_line_are_the_first_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
