/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/static_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/config.h"

static char text[4096];

static const char *place(const struct endpoint *e, const char *path, char out[ADDR_TEXT_SIZE])
{
	return path[0] ? path : endpoint_format(e, out);
}

static void add_text(const char *what, const char *from, const char *to, int via)
{
	size_t len = strlen(text);

	(void)snprintf(text + len, sizeof(text) - len, "%s %s -> %s via %s\n", what, from, to,
		       rule_via_name((enum rule_via)via));
}

/* "tcp HOST -> GUEST via WAY", and for a reverse forward "tcp, reverse GUEST -> HOST". */
static const char *list(const char *yaml)
{
	const struct config_context context = { .socket_dir = "/run/netfwd/sock" };
	struct reverse_list *reverse = calloc(1, sizeof(*reverse));
	char from[ADDR_TEXT_SIZE], to[ADDR_TEXT_SIZE];
	struct publication_list forwards;
	struct problems problems = { 0 };
	struct config *config;

	text[0] = '\0';
	assert_int_equal(publication_list_init(&forwards, 64), 0);
	assert_int_equal(config_parse(yaml, strlen(yaml), &context, &config, &problems), 0);
	static_rules_list(&config->set, &forwards, reverse);
	for (unsigned int i = 0; i < forwards.n; i++) {
		const struct publication *p = &forwards.items[i];

		assert_true(p->is_static);
		add_text(forward_proto_name(p->proto), place(&p->host, p->host_socket, from),
			 place(&p->guest, p->guest_socket, to), p->via);
	}
	for (unsigned int i = 0; i < reverse->n; i++) {
		const struct reverse_forward *r = &reverse->items[i];

		add_text(r->proto == FORWARD_TCP ? "tcp, reverse" : "udp, reverse",
			 place(&r->guest, r->guest_socket, from),
			 place(&r->host, r->host_socket, to), (int)r->via);
	}
	publication_list_deinit(&forwards);
	config_free(config);
	free(reverse);
	return text;
}

static void static_ports_and_ranges_are_listed(void **state)
{
	(void)state;
	assert_string_equal(list("portForwards:\n"
				 "- {guestPort: 80, hostPort: 8080, static: true, proto: tcp}\n"
				 "- {guestPortRange: [5000, 5001], hostPortRange: [6000, 6001],"
				 "   guestIP: 0.0.0.0, static: true, proto: udp, via: direct}\n"
				 "- {guestPort: 81}\n"),
			    "tcp 127.0.0.1:8080 -> 127.0.0.1:80 via ssh\n"
			    "udp 127.0.0.1:6000 -> 0.0.0.0:5000 via direct\n"
			    "udp 127.0.0.1:6001 -> 0.0.0.0:5001 via direct\n");
	assert_string_equal(list("portForwards: [{guestPort: 53, static: true}]"),
			    "tcp 127.0.0.1:53 -> 127.0.0.1:53 via ssh\n"
			    "udp 127.0.0.1:53 -> 127.0.0.1:53 via grpc\n");
}

static void sockets_of_the_guest_are_listed_without_being_static(void **state)
{
	(void)state;
	assert_string_equal(list("portForwards:\n"
				 "- {guestSocket: /run/docker.sock, hostSocket: docker.sock}\n"
				 "- {guestSocket: /run/b.sock, guestPort: 0,"
				 "   guestPortRange: [1, 1], hostPort: 2375, via: grpc}\n"
				 "- {guestPort: 80, hostSocket: /run/web.sock, static: true}\n"),
			    "tcp /run/netfwd/sock/docker.sock -> /run/docker.sock via ssh\n"
			    "tcp 127.0.0.1:2375 -> /run/b.sock via grpc\n"
			    "tcp /run/web.sock -> 127.0.0.1:80 via ssh\n");
}

static void reverse_forwards_are_listed(void **state)
{
	(void)state;
	assert_string_equal(
		list("portForwards:\n"
		     "- {guestSocket: /run/agent.sock, hostSocket: /run/ssh.sock, reverse: true}\n"
		     "- {guestPort: 9418, hostPort: 9419, proto: tcp, reverse: true}\n"
		     "- {guestPortRange: [53, 54], proto: udp, reverse: true, via: netns}\n"),
		"tcp, reverse /run/agent.sock -> /run/ssh.sock via ssh\n"
		"tcp, reverse 127.0.0.1:9418 -> 127.0.0.1:9419 via ssh\n"
		"udp, reverse 127.0.0.1:53 -> 127.0.0.1:53 via netns\n"
		"udp, reverse 127.0.0.1:54 -> 127.0.0.1:54 via netns\n");
}

static void what_is_ignored_or_switched_off_is_not(void **state)
{
	(void)state;
	assert_string_equal(list("portForwards: [{guestPort: 80, ignore: true, static: true}]"),
			    "");
	assert_string_equal(list("portForwardTypes: {any: none}\n"
				 "portForwards: [{guestPort: 80, static: true}]"),
			    "");
	assert_string_equal(list("portForwardTypes: {tcp: none, udp: direct}\n"
				 "portForwards: [{guestPort: 80, static: true}]"),
			    "udp 127.0.0.1:80 -> 127.0.0.1:80 via direct\n");
}

static void plain_leaves_what_is_static(void **state)
{
	(void)state;
	assert_string_equal(list("plain: true\n"
				 "portForwards:\n"
				 "- {guestSocket: /run/a.sock, hostSocket: /run/b.sock}\n"
				 "- {guestSocket: /run/c.sock, hostSocket: /run/d.sock,"
				 "   static: true}\n"
				 "- {guestPort: 9418, proto: tcp, reverse: true}\n"),
			    "tcp /run/d.sock -> /run/c.sock via ssh\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(static_ports_and_ranges_are_listed),
		cmocka_unit_test(sockets_of_the_guest_are_listed_without_being_static),
		cmocka_unit_test(reverse_forwards_are_listed),
		cmocka_unit_test(what_is_ignored_or_switched_off_is_not),
		cmocka_unit_test(plain_leaves_what_is_static),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
