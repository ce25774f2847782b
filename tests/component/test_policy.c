/* SPDX-License-Identifier: Apache-2.0 */
/* The rules at work: what a guest reports, what a reload changes, and what there is a
 * way for. Host ports are real, in a network of the test's own. */
#include "forwarder/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/publisher.h"
#include "forwarder/ways.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/own_network.h"
#include "tests/support/published.h"

struct policy_fixture {
	struct loop *loop;
	struct ways *ways;
	struct tunnel tunnels[RULE_VIA_NONE];
	struct options options;
	struct config *config, *older;
	struct publisher *publisher;
	struct policy *policy;
	char ports[4096]; /* what is published: "tcp 8080 " */
};

static void no_free(struct tunnel *t)
{
	(void)t;
}

static int no_udp(struct tunnel *t, const struct endpoint *guest,
		  const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	(void)t;
	(void)guest;
	(void)owner;
	(void)arg;
	(void)out;
	return -ENOTCONN;
}

static const struct tunnel_ops tunnel_ops = { .open_udp = no_udp, .free = no_free };

static void add_way(struct policy_fixture *f, enum rule_via kind)
{
	f->tunnels[kind] = (struct tunnel){ .ops = &tunnel_ops,
					    .name = rule_via_name(kind),
					    .state = TUNNEL_UP };
	ways_add(f->ways, kind, &f->tunnels[kind]);
}

static int dial_tcp(void *arg, const struct publication *item, struct stream **out)
{
	const struct policy_fixture *f = arg;
	const struct way_request request = publication_request(item);

	return ways_dial(f->ways, &request, out);
}

static int dial_udp(void *arg, const struct publication *item, const struct udp_flow_owner *owner,
		    void *owner_arg, struct udp_flow **out)
{
	const struct policy_fixture *f = arg;
	const struct way_request request = publication_request(item);

	return ways_open_udp(f->ways, &request, owner, owner_arg, out);
}

static int policy_setup_test(void **state)
{
	const struct publisher_config config = { .grace_ms = GRACE_DEFAULT_MS };
	struct policy_fixture *f = calloc(1, sizeof(*f));
	const struct publisher_dialer dialer = { dial_tcp, dial_udp, f };
	struct policy_setup setup = { .options = &f->options, .guest_name = "" };

	events[0] = last_error[0] = '\0';
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(ways_new(f->loop, &f->ways), 0);
	assert_int_equal(publisher_new(f->loop, &config, &dialer, &f->publisher), 0);
	setup.publisher = f->publisher;
	setup.ways = f->ways;
	assert_int_equal(policy_new(f->loop, &setup, &f->policy), 0);
	*state = f;
	return 0;
}

static int policy_teardown_test(void **state)
{
	struct policy_fixture *f = *state;

	publisher_free(f->publisher);
	policy_free(f->policy);
	ways_free(f->ways);
	config_free(f->older);
	config_free(f->config);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void use(struct policy_fixture *f, const char *yaml)
{
	const struct config_context context = { .socket_dir = "/run" };
	struct problems problems = { 0 };

	config_free(f->older);
	f->older = f->config;
	assert_int_equal(config_parse(yaml, strlen(yaml), &context, &f->config, &problems), 0);
	f->options.config = f->config;
	assert_int_equal(policy_use(f->policy, f->config), 0);
}

static struct rule_listener listener(enum forward_proto proto, const char *at, uint16_t port)
{
	return (struct rule_listener){ proto, { address(at), port } };
}

static void report(struct policy_fixture *f, struct rule_listener l)
{
	assert_int_equal(policy_change_listeners(f->policy, &l, 1, NULL, 0), 0);
}

static void note_port(void *arg, const char *source, const struct publication_status *status)
{
	struct policy_fixture *f = arg;
	size_t len = strlen(f->ports);

	(void)source;
	(void)snprintf(f->ports + len, sizeof(f->ports) - len, "%s %u ",
		       forward_proto_name(status->publication->proto), status->host.port);
}

static const char *published(struct policy_fixture *f)
{
	f->ports[0] = '\0';
	publisher_each(f->publisher, note_port, f);
	return f->ports;
}

static void what_the_guest_reports_goes_by_the_rules(void **state)
{
	struct policy_fixture *f = *state;

	add_way(f, RULE_VIA_DIRECT);
	use(f, "portForwardTypes: {any: auto}\n"
	       "portForwards: [{guestPort: 80, hostPort: 8080}, {guestPort: 81, ignore: true}]");
	report(f, listener(FORWARD_TCP, "0.0.0.0", 80));
	report(f, listener(FORWARD_TCP, "0.0.0.0", 80)); /* again */
	expect_events("forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n");
	report(f, listener(FORWARD_TCP, "127.0.0.1", 81));
	expect_events("not-forwarding tcp [::]:0 127.0.0.1:81\n");
	report(f, listener(FORWARD_TCP, "127.0.0.1", 82));
	expect_events("not-forwarding tcp [::]:0 127.0.0.1:82\n");
	assert_non_null(strstr(last_error, "loopback"));
	assert_string_equal(published(f), "tcp 8080 ");
}

static void another_way_reaches_more(void **state)
{
	struct policy_fixture *f = *state;

	add_way(f, RULE_VIA_DIRECT);
	add_way(f, RULE_VIA_GRPC);
	use(f, "portForwardTypes: {any: auto}");
	report(f, listener(FORWARD_TCP, "127.0.0.1", 82));
	report(f, listener(FORWARD_UDP, "127.0.0.1", 83));
	assert_string_equal(published(f), "tcp 82 udp 83 ");
}

static void a_way_that_is_named_and_not_there_is_told(void **state)
{
	struct policy_fixture *f = *state;

	add_way(f, RULE_VIA_DIRECT);
	use(f, "portForwards: [{guestPort: 80, via: ssh}]");
	report(f, listener(FORWARD_TCP, "0.0.0.0", 80));
	expect_events("not-forwarding tcp [::]:0 0.0.0.0:80\n");
	assert_string_equal(last_error, "it is to go by ssh, which is not set up");
}

static void udp_ports_of_clients_are_left_out_unless_a_rule_names_them(void **state)
{
	struct policy_fixture *f = *state;

	add_way(f, RULE_VIA_DIRECT);
	use(f, "portForwardTypes: {any: auto}");
	assert_false(policy_wants_client_ports(f->policy));
	report(f, listener(FORWARD_UDP, "0.0.0.0", 40000));
	report(f, listener(FORWARD_UDP, "0.0.0.0", 32767));
	report(f, listener(FORWARD_UDP, "0.0.0.0", 32768));
	report(f, listener(FORWARD_UDP, "0.0.0.0", 60999));
	report(f, listener(FORWARD_UDP, "0.0.0.0", 61000));
	report(f, listener(FORWARD_TCP, "0.0.0.0", 40000));
	assert_string_equal(published(f), "udp 32767 udp 61000 tcp 40000 ");
	assert_null(strstr(events, "not-forwarding"));

	use(f, "portForwardTypes: {any: auto}\n"
	       "portForwards: [{guestPortRange: [39000, 41000]}]");
	assert_true(policy_wants_client_ports(f->policy));
	assert_string_equal(published(f), "udp 32767 udp 61000 tcp 40000 udp 40000 ");

	policy_set_client_ports(f->policy, 61000, 61001);
	use(f, "portForwardTypes: {any: auto}");
	assert_non_null(strstr(published(f), "udp 40000 "));
	assert_null(strstr(published(f), "udp 61000 "));
}

static void a_hundred_thousand_listeners_are_bounded(void **state)
{
	struct policy_fixture *f = *state;
	struct rule_listener *many = calloc(POLICY_MAX_LISTENERS + 1, sizeof(*many));

	add_way(f, RULE_VIA_DIRECT);
	use(f, "portForwardTypes: {any: auto}\nportForwards: [{ignore: true}]");
	for (uint32_t i = 0; i <= POLICY_MAX_LISTENERS; i++)
		many[i] = (struct rule_listener){
			FORWARD_TCP,
			{ IPADDR_V4(10, 0, (uint8_t)(i >> 16), 1), (uint16_t)(i | 1) },
		};
	assert_int_equal(
		policy_change_listeners(f->policy, many, POLICY_MAX_LISTENERS + 1, NULL, 0),
		-ENOSPC);
	assert_int_equal(policy_change_listeners(f->policy, many, POLICY_MAX_LISTENERS, NULL, 0),
			 0);
	assert_string_equal(published(f), "");
	assert_int_equal(policy_change_listeners(f->policy, NULL, 0, many, POLICY_MAX_LISTENERS),
			 0);
	free(many);
}

static void a_udp_port_cannot_be_a_socket_of_the_host(void **state)
{
	struct policy_fixture *f = *state;

	add_way(f, RULE_VIA_DIRECT);
	use(f, "portForwardTypes: {any: auto}\n"
	       "portForwards: [{guestPort: 80, hostSocket: /run/netfwd-test.sock}]");
	report(f, listener(FORWARD_UDP, "0.0.0.0", 80));
	expect_events("not-forwarding udp [::]:0 0.0.0.0:80\n");
	assert_string_equal(published(f), "");
}

static void a_reload_changes_what_differs(void **state)
{
	struct policy_fixture *f = *state;

	add_way(f, RULE_VIA_DIRECT);
	use(f, "portForwardTypes: {any: auto}\n"
	       "portForwards: [{guestPort: 90, hostPort: 9090, static: true, proto: tcp}]");
	report(f, listener(FORWARD_TCP, "0.0.0.0", 80));
	expect_events("forwarding tcp 127.0.0.1:9090 127.0.0.1:90\n"
		      "forwarding tcp 127.0.0.1:80 0.0.0.0:80\n");
	use(f, "portForwardTypes: {any: auto}\n"
	       "portForwards: [{guestPort: 90, hostPort: 9091, static: true, proto: tcp}]");
	fake_loop_advance(f->loop, GRACE_DEFAULT_MS);
	expect_events("forwarding tcp 127.0.0.1:9091 127.0.0.1:90\n"
		      "stopping tcp 127.0.0.1:9090 127.0.0.1:90\n");
	assert_string_equal(published(f), "tcp 9091 tcp 80 ");
	use(f, "portForwardTypes: {any: none}");
	assert_string_equal(published(f), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, policy_setup_test, policy_teardown_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_the_guest_reports_goes_by_the_rules),
		TEST(another_way_reaches_more),
		TEST(a_way_that_is_named_and_not_there_is_told),
		TEST(udp_ports_of_clients_are_left_out_unless_a_rule_names_them),
		TEST(a_hundred_thousand_listeners_are_bounded),
		TEST(a_udp_port_cannot_be_a_socket_of_the_host),
		TEST(a_reload_changes_what_differs),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
