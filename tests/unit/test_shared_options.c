/* SPDX-License-Identifier: Apache-2.0 */
/* A shared network from its file to what the stack is told. */
#include "forwarder/shared_options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/config.h"
#include "forwarder/config_changes.h"
#include "forwarder/network_spec.h"
#include "forwarder/options.h"
#include "forwarder/options_merge.h"
#include "forwarder/shared_network.h"

static const char full[] = "shared:\n"
			   "  stream: /run/a.sock\n"
			   "  dgram: [/run/b.sock]\n"
			   "  vhostUser: [/run/c.sock]\n"
			   "  netns: [box1, box2]\n"
			   "  hostInterface: netfwd0\n"
			   "  uplink: br0\n"
			   "  isolate: true\n"
			   "  portSecurity: false\n"
			   "  leases: /var/leases\n"
			   "  range: 10.1.2.50-10.1.2.99\n"
			   "  leaseTime: 7200\n"
			   "  loopback: 127.44.0.0\n"
			   "  loopbackPorts: [22, 8080]\n"
			   "  ntp: [192.0.2.1]\n"
			   "  search: [a.example, b.example]\n"
			   "  guests:\n"
			   "  - {name: web, mac: '52:54:00:00:00:01', address: 10.1.2.7}\n"
			   "network: {cidr: 10.1.2.0/24}\n";

struct fixture {
	char program[16], option[16], file[16], word[16];
	char *argv[5];
	struct options options;
	struct config *config;
	struct problems problems;
};

static struct config *parse(struct fixture *f, const char *yaml)
{
	const struct config_context context = { .socket_dir = "/run/sock" };
	struct config *config = NULL;

	memset(&f->problems, 0, sizeof(f->problems));
	(void)config_parse(yaml, strlen(yaml), &context, &config, &f->problems);
	return config;
}

/* The command line has one more word, or NULL. */
static void merge(struct fixture *f, const char *yaml, const char *word)
{
	char error[OPTIONS_ERROR_SIZE] = "";

	*f = (struct fixture){ .program = "netfwd", .option = "--config", .file = "a.yaml" };
	(void)snprintf(f->word, sizeof(f->word), "%s", word ? word : "");
	f->argv[0] = f->program;
	f->argv[1] = f->option;
	f->argv[2] = f->file;
	f->argv[3] = word ? f->word : NULL;
	assert_int_equal(options_parse(word ? 4 : 3, f->argv, &f->options, error), 0);
	f->config = parse(f, yaml);
	assert_non_null(f->config);
	assert_int_equal(options_merge(&f->options, f->config, error), 0);
	assert_string_equal(error, "");
	options_complete(&f->options);
}

static void done(struct fixture *f)
{
	options_deinit(&f->options);
	config_free(f->config);
}

static void assert_address(const struct ipaddr *addr, const char *text)
{
	char found[ADDR_TEXT_SIZE];

	assert_string_equal(ipaddr_format(addr, found), text);
}

static void every_key_reaches_the_stack(void **state)
{
	char error[SHARED_OPTIONS_ERROR_SIZE];
	struct stack_config c;
	struct fixture f;

	(void)state;
	merge(&f, full, NULL);
	assert_true(f.options.is_shared);
	assert_int_equal(f.options.n_links, 5);
	assert_int_equal(f.options.links[0].link, OPTIONS_LINK_STREAM);
	assert_int_equal(f.options.links[2].link, OPTIONS_LINK_VHOST_USER);
	assert_string_equal(f.options.links[4].where, "box2");
	assert_string_equal(f.options.shared.host_interface, "netfwd0");
	assert_string_equal(f.options.shared.uplink, "br0");
	assert_address(&f.options.shared.loopback, "127.44.0.0");
	assert_int_equal(f.options.shared.n_ports, 2);
	assert_int_equal(f.options.shared.ports[1], 8080);

	assert_int_equal(shared_network_make(&f.options, &c, error), 0);
	assert_true(c.is_shared && c.shared.isolate && c.shared.trust_guests);
	assert_int_equal(c.mtu, 1500);
	assert_int_equal(c.lease_s, 7200);
	assert_string_equal(c.shared.lease_path, "/var/leases");
	assert_address(&c.guest4, "10.1.2.50");
	assert_address(&c.last4, "10.1.2.99");
	assert_address(&c.shared.ntp[0], "192.0.2.1");
	assert_string_equal(c.shared.search[1], "b.example");
	assert_int_equal(c.shared.n_guests, 1);
	assert_string_equal(c.shared.guests[0].name, "web");
	assert_address(&c.shared.guests[0].addr, "10.1.2.7");
	/* the host is number 1, so the gateway is 2 */
	assert_address(&c.shared.host4, "10.1.2.1");
	assert_address(&c.shared.host6, "fd00:a01:2::1");
	assert_address(&c.gateway4, "10.1.2.2");
	assert_address(&c.gateway6, "fd00:a01:2::2");
	assert_address(&c.dns4, "10.1.2.3");
	done(&f);
}

static void nothing_but_the_section_is_a_network_too(void **state)
{
	char error[SHARED_OPTIONS_ERROR_SIZE];
	struct stack_config c;
	struct fixture f;

	(void)state;
	merge(&f, "shared: {}\n", NULL);
	assert_int_equal(f.options.n_links, 0);
	assert_int_equal(shared_network_make(&f.options, &c, error), 0);
	assert_address(&c.network4, "192.168.105.0");
	assert_address(&c.gateway4, "192.168.105.1");
	assert_address(&c.prefix6, "fd00:c0a8:69::");
	assert_address(&c.guest4, "192.168.105.16");
	assert_true(ipaddr_is_any(&c.shared.host4));
	assert_false(c.shared.isolate || c.shared.trust_guests);
	done(&f);
}

static void guests_of_the_command_line_replace_the_files(void **state)
{
	struct fixture f;

	(void)state;
	merge(&f, full, "--netns=mine");
	assert_int_equal(f.options.n_links, 1);
	assert_string_equal(f.options.links[0].where, "mine");
	assert_int_equal(f.options.link, OPTIONS_LINK_SHARED);
	done(&f);
}

static void faults_are_named(void **state)
{
	static const struct {
		const char *yaml, *fault;
	} cases[] = {
		{ "shared: {range: 10.0.0.9}", "is \"10.0.0.9\": must be two IPv4" },
		{ "shared: {range: 10.0.0.9-10.0.0.8}", "must be two IPv4 addresses" },
		{ "shared: {leaseTime: 5}", "must be 60 to 31536000 seconds, but is 5" },
		{ "shared: {loopback: 127.0.0.0}", "must be 127.N.0.0" },
		{ "shared: {loopback: 10.0.0.0}", "must be 127.N.0.0" },
		{ "shared: {loopbackPorts: [0]}", "is 0: must be 1 to" },
		{ "shared: {ntp: [time.example]}", "is \"time.example\": must be" },
		{ "shared: {ntp: ['::1']}", "must be an IPv4 address" },
		{ "shared: {search: [a, b, c, d, e]}", "has 5 domains: must be at most 4" },
		{ "shared: {guests: [{plain: true}]}", "must be given, or name" },
		{ "shared: {guests: [{name: a, address: 10.0.0.1}]}", "needs mac" },
		{ "shared: {guests: [{mac: '1:2', address: 10.0.0.1}]}",
		  "must be the MAC address" },
		{ "shared: {guests: [{mac: '01:00:00:00:00:01', address: 10.0.0.1}]}",
		  "must be the MAC address of one card" },
		{ "shared: {guests: [{mac: '02:00:00:00:00:01', address: x}]}",
		  "must be an IPv4 address" },
		{ "shared: {uplink: a/b}", "an interface's name has" },
		{ "shared: {}\nguest: {netns: a}", "is for a single guest" },
		{ "shared: {}\nportForwards: [{guestPort: 80}]", "are rules for a single guest" },
		{ "shared: {}\nssh: {user: me}", "is for a single guest" },
		{ "shared: {}\nagent: {transport: unix, path: /a}", "is for a single guest" },
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(parse(&f, cases[i].yaml));
		if (f.problems.n_errors != 1 || !strstr(f.problems.list[0].text, cases[i].fault))
			fail_msg("%s: %s", cases[i].yaml, f.problems.list[0].text);
	}
}

static void addresses_lie_in_the_network(void **state)
{
	static const char *const cases[] = {
		"shared: {range: 10.0.0.16-10.0.0.20}",
		"shared: {range: 192.168.105.16-192.168.106.20}",
		"shared: {guests: [{mac: '02:00:00:00:00:01', address: 10.0.0.1}]}",
		"shared: {loopback: 127.1.0.0}\nnetwork: {cidr: 10.0.0.0/8}",
	};
	char error[SHARED_OPTIONS_ERROR_SIZE];
	struct stack_config c;
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		merge(&f, cases[i], NULL);
		assert_int_equal(shared_network_make(&f.options, &c, error), -EINVAL);
		assert_non_null(strstr(error, "must "));
		done(&f);
	}
}

static void note_change(void *arg, const char *key)
{
	const char **last = arg;

	*last = key;
}

static void a_change_of_it_is_noticed(void **state)
{
	static const struct {
		const char *text, *key;
	} others[] = {
		{ "shared: {stream: /b, netns: [a]}", "shared.stream" },
		{ "shared: {stream: /a, netns: [b]}", "shared.netns" },
		{ "shared: {stream: /a, netns: [a, b]}", "shared.netns" },
		{ "shared: {stream: /a, netns: [a], isolate: true}", "shared.isolate" },
		{ "shared: {stream: /a, netns: [a], loopbackPorts: [1]}", "shared.loopbackPorts" },
		{ "shared: {stream: /a, netns: [a], guests: [{mac: '02:00:00:00:00:01', address: "
		  "10.0.0.1}]}",
		  "shared.guests" },
	};
	static const char first[] = "shared: {stream: /a, netns: [a]}";
	struct fixture f;
	struct config *before = parse(&f, first), *same = parse(&f, first);
	const char *changed = NULL;

	(void)state;
	config_changes(before, same, note_change, &changed);
	assert_null(changed);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct config *after = parse(&f, others[i].text);

		changed = NULL;
		config_changes(before, after, note_change, &changed);
		assert_non_null(changed);
		assert_string_equal(changed, others[i].key);
		config_free(after);
	}
	config_free(before);
	config_free(same);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_reaches_the_stack),
		cmocka_unit_test(nothing_but_the_section_is_a_network_too),
		cmocka_unit_test(guests_of_the_command_line_replace_the_files),
		cmocka_unit_test(faults_are_named),
		cmocka_unit_test(addresses_lie_in_the_network),
		cmocka_unit_test(a_change_of_it_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
