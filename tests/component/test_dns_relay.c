/* SPDX-License-Identifier: Apache-2.0 */
/* The relay with a resolver of the test's own, in a network of its own. */
#include "netstack/dns_relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/base/loop.h"
#include "netstack/dns.h"
#include "tests/support/dns_query.h"
#include "tests/support/fake_loop.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"
#include "tests/support/wire.h"

#define TIMEOUT_MS 10000
#define MAX_PENDING 256

struct fixture {
	struct loop *loop;
	struct dns_relay *relay;
	char resolv_conf[64];
	int resolver; /* socket on 127.0.0.1:53 */
	/* the last reply to a guest */
	unsigned int n_replies;
	struct endpoint server, guest;
	uint8_t reply[65535];
	size_t reply_len;
	/* the last query that the resolver has got */
	struct sockaddr_storage from;
	socklen_t from_len;
	uint8_t query[512];
	size_t query_len;
};

static const struct endpoint dns = { IPADDR_V4(192, 168, 5, 3), 53 };
static const struct endpoint guest = { IPADDR_V4(192, 168, 5, 15), 40000 };

static void on_reply(void *arg, const struct endpoint *server, const struct endpoint *to,
		     const void *message, size_t len)
{
	struct fixture *f = arg;

	f->n_replies++;
	f->server = *server;
	f->guest = *to;
	memcpy(f->reply, message, len);
	f->reply_len = len;
}

static void write_resolv_conf(const struct fixture *f, const char *text)
{
	FILE *file = fopen(f->resolv_conf, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int open_resolver(const char *address)
{
	struct sockaddr_storage sa;
	struct endpoint e = { .port = 53 };
	int fd;

	assert_int_equal(ipaddr_parse(address, &e.addr), 0);
	socklen_t len = endpoint_to_sockaddr(&e, &sa);

	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

/* The owner knows one name. */
static bool on_question(void *arg, const struct dns_question *q, struct dns_answer *a)
{
	(void)arg;
	if (strcmp(q->name, "known.example") != 0)
		return false;
	a->has_address = q->type == DNS_TYPE_A;
	a->address = wire_gateway4;
	return true;
}

static int setup(void **state)
{
	static struct fixture f;
	struct dns_relay_config config = {
		.know = on_question,
		.resolv_conf = f.resolv_conf,
		.reply = on_reply,
		.arg = &f,
	};

	memset(&f, 0, sizeof(f));
	*state = &f;
	strcpy(f.resolv_conf, "/tmp/netfwd-resolv-XXXXXX");
	close(mkstemp(f.resolv_conf));
	write_resolv_conf(&f, "nameserver 127.0.0.1\n");
	f.resolver = open_resolver("127.0.0.1");
	if (loop_new(&f.loop) < 0)
		return -1;
	return dns_relay_new(f.loop, &config, &f.relay);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_relay_free(f->relay);
	loop_free(f->loop);
	(void)unlink(f->resolv_conf);
	if (f->resolver >= 0)
		close(f->resolver);
	return 0;
}

static size_t ask(struct fixture *f, uint16_t id, const char *name, uint16_t type)
{
	uint8_t m[512];
	size_t len = dns_query_make(m, id, name, type);

	dns_relay_query(f->relay, &guest, &dns, m, len);
	return len;
}

static bool resolver_got(struct fixture *f, int resolver)
{
	ssize_t n;

	f->from_len = sizeof(f->from);
	n = recvfrom(resolver, f->query, sizeof(f->query), 0, (struct sockaddr *)&f->from,
		     &f->from_len);
	f->query_len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static void answer(struct fixture *f, int from, const void *message, size_t len)
{
	assert_int_equal(sendto(from, message, len, 0, (struct sockaddr *)&f->from, f->from_len),
			 len);
}

static void what_the_owner_knows_is_answered(void **state)
{
	static const uint8_t a[] = { 192, 168, 5, 2 };
	struct fixture *f = *state;
	size_t len = ask(f, 7, "Known.EXAMPLE", DNS_TYPE_A);

	assert_int_equal(f->n_replies, 1);
	assert_true(endpoint_equal(&f->server, &dns));
	assert_true(endpoint_equal(&f->guest, &guest));
	assert_int_equal(f->reply_len, len + 16);
	assert_memory_equal(f->reply + len + 12, a, 4);
	len = ask(f, 9, "known.example", 15); /* MX: there is none */
	assert_int_equal(f->reply_len, len);
	assert_int_equal(f->reply[3] & 15, DNS_RCODE_OK);
	assert_false(resolver_got(f, f->resolver));
}

static void other_names_are_the_hosts_resolvers(void **state)
{
	static const uint8_t message[] = "whatever a resolver says";
	static const uint16_t types[] = { 1, 28, 15, 16, 65, 255, 65535 };
	struct fixture *f = *state;
	uint8_t m[512];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t len = dns_query_make(m, (uint16_t)i, "www.lima.internal.example", types[i]);

		memcpy(m + len, "additional", 10); /* is handed on as well */
		m[11] = 1;
		dns_relay_query(f->relay, &guest, &dns, m, len + 10);
		UNTIL(f->loop, resolver_got(f, f->resolver));
		assert_int_equal(f->query_len, len + 10);
		assert_memory_equal(f->query, m, len + 10);
		assert_int_equal(f->n_replies, i);

		answer(f, f->resolver, message, sizeof(message));
		UNTIL(f->loop, f->n_replies == i + 1);
		assert_int_equal(f->reply_len, sizeof(message));
		assert_memory_equal(f->reply, message, sizeof(message));
		assert_true(endpoint_equal(&f->server, &dns));
		assert_true(endpoint_equal(&f->guest, &guest));
	}
}

static void answers_find_their_guests_in_any_order(void **state)
{
	const struct endpoint other = { IPADDR_V4(192, 168, 5, 16), 555 };
	struct fixture *f = *state;
	struct sockaddr_storage first;
	uint8_t m[512];
	size_t len;

	ask(f, 1, "first.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	first = f->from;
	len = dns_query_make(m, 2, "second.example", 1);
	dns_relay_query(f->relay, &other, &dns, m, len);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	assert_memory_not_equal(&first, &f->from, sizeof(first)); /* another port */

	answer(f, f->resolver, "to the second", 13);
	UNTIL(f->loop, f->n_replies == 1);
	assert_true(endpoint_equal(&f->guest, &other));
	f->from = first;
	answer(f, f->resolver, "to the first!", 13);
	UNTIL(f->loop, f->n_replies == 2);
	assert_true(endpoint_equal(&f->guest, &guest));
	assert_memory_equal(f->reply, "to the first!", 13);
}

static void the_resolver_may_change(void **state)
{
	struct fixture *f = *state;
	int other = open_resolver("127.0.0.2"), six = open_resolver("::1");

	write_resolv_conf(f, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n");
	ask(f, 1, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, other));
	write_resolv_conf(f, "nameserver ::1\n");
	ask(f, 2, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, six));
	answer(f, six, "a long enough answer", 20);
	UNTIL(f->loop, f->n_replies == 1);
	assert_false(resolver_got(f, f->resolver));
	close(other);
	close(six);
}

static void without_a_resolver_a_query_fails_at_once(void **state)
{
	struct fixture *f = *state;

	write_resolv_conf(f, "# nobody\n");
	ask(f, 1, "a.example", 1);
	assert_int_equal(f->n_replies, 1);
	assert_int_equal(f->reply[3] & 15, DNS_RCODE_SERVFAIL);
	assert_int_equal(unlink(f->resolv_conf), 0);
	ask(f, 2, "a.example", 1);
	assert_int_equal(f->n_replies, 2);
	write_resolv_conf(f, "nameserver 203.0.113.1\n"); /* no route there */
	ask(f, 3, "a.example", 1);
	assert_int_equal(f->n_replies, 3);
	assert_int_equal(dns_relay_counters(f->relay)->no_resolver, 3);
	ask(f, 4, "known.example", 1);
	assert_int_equal(f->reply[3] & 15, DNS_RCODE_OK);
}

static void a_silent_resolver_is_waited_for_ten_seconds(void **state)
{
	struct fixture *f = *state;

	ask(f, 1, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	fake_loop_advance(f->loop, TIMEOUT_MS - 1);
	assert_int_equal(dns_relay_counters(f->relay)->timed_out, 0);
	fake_loop_advance(f->loop, 1);
	assert_int_equal(dns_relay_counters(f->relay)->timed_out, 1);

	/* too late: nobody listens there any more */
	answer(f, f->resolver, "a long enough answer", 20);
	fake_loop_settle(f->loop);
	assert_int_equal(f->n_replies, 0);
	ask(f, 2, "b.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	answer(f, f->resolver, "a long enough answer", 20);
	UNTIL(f->loop, f->n_replies == 1);
}

static void a_refusal_ends_the_query(void **state)
{
	struct fixture *f = *state;

	close(f->resolver);
	f->resolver = -1;
	for (uint16_t i = 0; i < 2 * MAX_PENDING; i++) {
		ask(f, i, "a.example", 1);
		fake_loop_settle(f->loop); /* refused by now: loopback is quick */
	}
	assert_int_equal(dns_relay_counters(f->relay)->evicted, 0);
	assert_int_equal(f->n_replies, 0);
	f->resolver = open_resolver("127.0.0.1");
	ask(f, 1, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	answer(f, f->resolver, "a long enough answer", 20);
	UNTIL(f->loop, f->n_replies == 1);
}

static void only_the_resolver_answers(void **state)
{
	struct fixture *f = *state;
	int stranger = open_resolver("127.0.0.9");

	ask(f, 1, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	answer(f, stranger, "a forged, long answer", 21);
	fake_loop_settle(f->loop);
	assert_int_equal(f->n_replies, 0);
	answer(f, f->resolver, "a true, long answer", 19);
	UNTIL(f->loop, f->n_replies == 1);
	assert_int_equal(f->reply_len, 19);
	close(stranger);
}

static void answers_of_any_length_pass_but_no_runts(void **state)
{
	static uint8_t large[65507];
	struct fixture *f = *state;
	int size = 1 << 20;

	assert_int_equal(setsockopt(f->resolver, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	ask(f, 1, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	answer(f, f->resolver, large, DNS_HEADER_SIZE - 1);
	ask(f, 2, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	answer(f, f->resolver, large, 0);
	ask(f, 3, "a.example", 1);
	UNTIL(f->loop, resolver_got(f, f->resolver));
	assert_int_equal(f->n_replies, 0);
	answer(f, f->resolver, large, sizeof(large));
	UNTIL(f->loop, f->n_replies == 1);
	assert_int_equal(f->reply_len, sizeof(large));
}

static void what_is_no_query_is_counted(void **state)
{
	struct fixture *f = *state;
	uint8_t m[512];
	size_t len = dns_query_make(m, 1, "a.example", 1);

	dns_relay_query(f->relay, &guest, &dns, m, len - 1);
	dns_relay_query(f->relay, &guest, &dns, m, 0);
	m[2] |= 0x80; /* a response */
	dns_relay_query(f->relay, &guest, &dns, m, len);
	fake_loop_settle(f->loop);
	assert_int_equal(dns_relay_counters(f->relay)->bad_queries, 3);
	assert_int_equal(f->n_replies, 0);
	assert_false(resolver_got(f, f->resolver));
}

static void a_flood_of_queries_is_bounded(void **state)
{
	struct fixture *f = *state;

	for (uint16_t i = 0; i < MAX_PENDING + 100; i++) {
		ask(f, i, "a.example", 1);
		assert_true(resolver_got(f, f->resolver));
	}
	assert_int_equal(dns_relay_counters(f->relay)->evicted, 100);
	answer(f, f->resolver, "a long enough answer", 20);
	UNTIL(f->loop, f->n_replies == 1); /* the newest is well */
	fake_loop_advance(f->loop, TIMEOUT_MS);
	assert_int_equal(dns_relay_counters(f->relay)->timed_out, MAX_PENDING - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_the_owner_knows_is_answered),
		TEST(other_names_are_the_hosts_resolvers),
		TEST(answers_find_their_guests_in_any_order),
		TEST(the_resolver_may_change),
		TEST(without_a_resolver_a_query_fails_at_once),
		TEST(a_silent_resolver_is_waited_for_ten_seconds),
		TEST(a_refusal_ends_the_query),
		TEST(only_the_resolver_answers),
		TEST(answers_of_any_length_pass_but_no_runts),
		TEST(what_is_no_query_is_counted),
		TEST(a_flood_of_queries_is_bounded),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
