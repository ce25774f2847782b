/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/config_changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char keys[512];

static void note(void *arg, const char *key)
{
	size_t len = strlen(keys);

	(void)arg;
	(void)snprintf(keys + len, sizeof(keys) - len, "%s ", key);
}

static const char *changes(const char *before, const char *after)
{
	const struct config_context context = { .socket_dir = "/run" };
	struct problems problems = { 0 };
	struct config *a, *b;

	keys[0] = '\0';
	assert_int_equal(config_parse(before, strlen(before), &context, &a, &problems), 0);
	assert_int_equal(config_parse(after, strlen(after), &context, &b, &problems), 0);
	config_changes(a, b, note, NULL);
	config_free(a);
	config_free(b);
	return keys;
}

static void what_needs_a_new_start_is_named(void **state)
{
	(void)state;
	assert_string_equal(changes("{}", "{}"), "");
	assert_string_equal(changes("network: {mtu: 1500}", "network: {mtu: 1500}"), "");
	assert_string_equal(changes("network: {mtu: 1500}", "network: {mtu: 1400}"),
			    "network.mtu ");
	assert_string_equal(changes("{}", "guest: {netns: a, ifname: b}"),
			    "guest.netns guest.ifname ");
	assert_string_equal(changes("guest: {netns: a}", "guest: {netns: b}"), "guest.netns ");
	assert_string_equal(changes("logging: {pcap: a}", "{}"), "logging.pcap ");
	assert_string_equal(changes("{}", "ssh: {host: a, keepalive: {interval: 3}}"),
			    "ssh.host ssh.keepalive.interval ");
	assert_string_equal(changes("{}", "agent: {transport: unix, path: /a}"),
			    "agent.transport agent.path ");
	assert_string_equal(changes("agent: {transport: command, command: [a, b]}",
				    "agent: {transport: command, command: [a, c]}"),
			    "agent.command ");
}

static void lists_are_compared_by_their_elements(void **state)
{
	(void)state;
	assert_string_equal(changes("shared: {netns: [a, b]}", "shared: {netns: [a, b]}"), "");
	assert_string_equal(changes("shared: {netns: [a, b]}", "shared: {netns: [a, c]}"),
			    "shared.netns ");
	assert_string_equal(changes("shared: {netns: [a]}", "shared: {netns: [a], search: [x.y]}"),
			    "shared.search ");
	assert_string_equal(changes("shared: {guests: [{name: a, mac: '52:55:55:00:00:01',"
				    " address: 192.168.105.20}]}",
				    "shared: {guests: [{name: a, mac: '52:55:55:00:00:01',"
				    " address: 192.168.105.21}]}"),
			    "shared.guests ");
}

static void what_a_reload_applies_is_not(void **state)
{
	(void)state;
	assert_string_equal(changes("{}", "portForwards: [{guestPort: 80}]\n"
					  "portForwardTypes: {any: auto}\n"
					  "plain: true\n"
					  "autoCorrect: true\n"
					  "ssh: {localPort: 60022}\n"
					  "logging: {level: debug, json: true}\n"),
			    "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_needs_a_new_start_is_named),
		cmocka_unit_test(lists_are_compared_by_their_elements),
		cmocka_unit_test(what_a_reload_applies_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
