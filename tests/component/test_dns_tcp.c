/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver over TCP: a guest in memory, a resolver of the test's own. */
#include "netstack/dns_tcp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
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
#include "tests/support/host_socket.h"
#include "tests/support/mem_stream.h"
#include "tests/support/own_network.h"
#include "tests/support/patience.h"

static const struct ipaddr known = IPADDR_V4(192, 168, 105, 16);

struct fixture {
	struct loop *loop;
	struct dns_tcp *dns;
	struct mem_stream guest;
	bool has_resolver;
	uint16_t port;
	int listener, resolver; /* the latter once it has been connected to; else -1 */
};

static bool on_question(void *arg, const struct dns_question *q, struct dns_answer *a)
{
	(void)arg;
	if (strcmp(q->name, "box.netfwd.internal") != 0)
		return false;
	a->has_address = q->type == DNS_TYPE_A;
	a->address = known;
	return true;
}

static bool on_resolver(void *arg, struct endpoint *out)
{
	const struct fixture *f = arg;

	*out = (struct endpoint){ IPADDR_V4(127, 0, 0, 1), f->port };
	return f->has_resolver;
}

static void start_guest(struct fixture *f, struct mem_stream *guest)
{
	mem_stream_init(guest, f->loop, MEM_STREAM_PEEK);
	mem_stream_give_room(guest, 1 << 20);
	dns_tcp_serve(f->dns, &guest->base);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct dns_tcp_config config = { .know = on_question,
					       .resolver = on_resolver,
					       .arg = f };

	*state = f;
	f->has_resolver = true;
	f->resolver = -1;
	f->listener = host_listen("127.0.0.1", &f->port);
	if (loop_new(&f->loop) < 0 || dns_tcp_new(f->loop, &config, &f->dns) < 0)
		return -1;
	start_guest(f, &f->guest);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_tcp_free(f->dns);
	assert_true(f->guest.is_closed || f->guest.is_reset);
	mem_stream_deinit(&f->guest);
	loop_free(f->loop);
	close(f->listener);
	if (f->resolver >= 0)
		close(f->resolver);
	free(f);
	return 0;
}

/* With its length in front. */
static size_t make_query(uint8_t *m, uint16_t id, const char *name)
{
	size_t len = dns_query_make(m + 2, id, name, DNS_TYPE_A);

	put_be16(m, (uint16_t)len);
	return 2 + len;
}

static void ask(struct fixture *f, uint16_t id, const char *name)
{
	uint8_t m[512];

	mem_stream_feed(&f->guest, m, make_query(m, id, name));
}

/* The id of the message that begins here in what the guest got; moves on. */
static uint16_t next_id(const struct fixture *f, size_t *at)
{
	size_t start = *at;

	assert_true(start + 4 <= f->guest.output_len);
	*at += 2U + get_be16(f->guest.output + start);
	assert_true(*at <= f->guest.output_len);
	return get_be16(f->guest.output + start + 2);
}

static void what_the_owner_knows_is_answered(void **state)
{
	struct fixture *f = *state;
	size_t at = 0;

	ask(f, 7, "box.netfwd.internal");
	ask(f, 8, "Box.NETFWD.internal");
	fake_loop_settle(f->loop);
	assert_int_equal(next_id(f, &at), 7);
	assert_memory_equal(f->guest.output + at - 4, known.b + 12, 4);
	assert_int_equal(next_id(f, &at), 8);
	assert_int_equal(at, f->guest.output_len);
	assert_int_equal(host_accept(f->listener), -1); /* nobody else was asked */
}

static void byte_by_byte_too(void **state)
{
	struct fixture *f = *state;
	uint8_t m[512];
	size_t len = make_query(m, 7, "box.netfwd.internal"), at = 0;

	for (size_t i = 0; i < len; i++) {
		assert_int_equal(f->guest.output_len, 0);
		mem_stream_feed(&f->guest, m + i, 1);
		fake_loop_settle(f->loop);
	}
	assert_int_equal(next_id(f, &at), 7);
}

/* All that is asked of the resolver, as it was asked. */
static void expect_at_resolver(struct fixture *f, uint16_t id, const char *name)
{
	uint8_t want[512], got[512];
	size_t len = make_query(want, id, name);
	ssize_t n = -1;

	if (f->resolver < 0)
		UNTIL(f->loop, (f->resolver = host_accept(f->listener)) >= 0);
	UNTIL(f->loop, (n = recv(f->resolver, got, len, MSG_DONTWAIT)) >= 0);
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
}

static void other_names_are_the_hosts_resolvers(void **state)
{
	static const char answer[] = "\0\6\0\1what";
	struct fixture *f = *state;

	ask(f, 1, "www.example");
	expect_at_resolver(f, 1, "www.example");
	assert_int_equal(send(f->resolver, answer, 8, 0), 8);
	UNTIL(f->loop, f->guest.output_len == 8);
	assert_memory_equal(f->guest.output, answer, 8);
	/* on the same connection, after one of ours */
	ask(f, 2, "box.netfwd.internal");
	ask(f, 3, "mail.example");
	expect_at_resolver(f, 3, "mail.example");
}

static void no_answer_cuts_another_in_two(void **state)
{
	struct fixture *f = *state;
	size_t at = 0;

	ask(f, 1, "www.example");
	expect_at_resolver(f, 1, "www.example");
	assert_int_equal(send(f->resolver, "\0\6\0\1w", 5, 0), 5);
	UNTIL(f->loop, f->guest.output_len == 5);
	ask(f, 2, "box.netfwd.internal");
	fake_loop_settle(f->loop);
	assert_int_equal(f->guest.output_len, 5);
	assert_int_equal(send(f->resolver, "hat\0", 4, 0), 4); /* and half a length */
	UNTIL(f->loop, f->guest.output_len == 9);
	assert_int_equal(send(f->resolver, "\2\0\5", 3, 0), 3);
	UNTIL(f->loop, f->guest.output_len > 12);
	assert_int_equal(next_id(f, &at), 1);
	assert_int_equal(next_id(f, &at), 5);
	assert_int_equal(next_id(f, &at), 2);
	assert_int_equal(at, f->guest.output_len);
}

static void a_guest_that_has_asked_all_gets_its_answers(void **state)
{
	struct fixture *f = *state;
	char byte;

	ask(f, 1, "www.example");
	mem_stream_eof(&f->guest);
	expect_at_resolver(f, 1, "www.example");
	UNTIL(f->loop, recv(f->resolver, &byte, 1, MSG_DONTWAIT) == 0);
	assert_int_equal(send(f->resolver, "\0\2\0\1", 4, 0), 4);
	close(f->resolver);
	f->resolver = -1;
	UNTIL(f->loop, f->guest.is_closed);
	assert_int_equal(f->guest.output_len, 4);
}

static void without_a_resolver_that_is_said(void **state)
{
	struct fixture *f = *state;

	f->has_resolver = false;
	ask(f, 1, "www.example");
	ask(f, 2, "box.netfwd.internal");
	mem_stream_eof(&f->guest);
	fake_loop_settle(f->loop);
	assert_int_equal(f->guest.output[5] & 15, DNS_RCODE_SERVFAIL);
	assert_true(f->guest.is_closed);
	assert_int_equal(dns_tcp_counters(f->dns)->no_resolver, 1);
}

static void one_that_refuses_ends_the_connection(void **state)
{
	struct fixture *f = *state;

	close(f->listener);
	f->listener = -1;
	ask(f, 2, "box.netfwd.internal");
	ask(f, 1, "www.example");
	UNTIL(f->loop, f->guest.is_closed);
	assert_true(f->guest.output_len > 0); /* what was known was told */
}

static void what_is_no_query_ends_it(void **state)
{
	struct fixture *f = *state;

	mem_stream_feed(&f->guest, "\0\3abc", 5);
	fake_loop_settle(f->loop);
	assert_true(f->guest.is_closed);
	assert_int_equal(dns_tcp_counters(f->dns)->bad_queries, 1);
}

static void a_query_beyond_reason_ends_it(void **state)
{
	struct fixture *f = *state;

	mem_stream_feed(&f->guest, "\xff\xff", 2);
	fake_loop_settle(f->loop);
	assert_true(f->guest.is_closed);
	assert_int_equal(dns_tcp_counters(f->dns)->bad_queries, 1);
}

static void a_guest_that_does_not_read_is_not_answered_without_end(void **state)
{
	struct fixture *f = *state;

	f->guest.room = 0;
	for (int i = 0; i < 5000; i++)
		ask(f, 1, "box.netfwd.internal");
	fake_loop_settle(f->loop);
	assert_true(f->guest.input_len - f->guest.input_at > 50000); /* it waits */
	mem_stream_give_room(&f->guest, 1 << 20);
	fake_loop_settle(f->loop);
	assert_int_equal(f->guest.input_at, f->guest.input_len);
	assert_int_equal(f->guest.output_len % 5000, 0);
}

static void a_silent_one_is_ended(void **state)
{
	struct fixture *f = *state;

	fake_loop_advance(f->loop, DNS_TCP_IDLE_MS - 1);
	ask(f, 1, "box.netfwd.internal");
	fake_loop_settle(f->loop);
	fake_loop_advance(f->loop, DNS_TCP_IDLE_MS - 1);
	assert_false(f->guest.is_closed);
	fake_loop_advance(f->loop, 1);
	assert_true(f->guest.is_closed);
	assert_int_equal(dns_tcp_counters(f->dns)->timed_out, 1);
}

static void the_one_silent_for_longest_makes_room(void **state)
{
	static struct mem_stream more[DNS_TCP_MAX];
	struct fixture *f = *state;

	for (unsigned int i = 0; i < DNS_TCP_MAX; i++)
		start_guest(f, &more[i]);
	assert_true(f->guest.is_reset);
	assert_int_equal(dns_tcp_counters(f->dns)->evicted, 1);
	for (unsigned int i = 0; i < DNS_TCP_MAX; i++) {
		assert_false(more[i].is_reset);
		mem_stream_break(&more[i], -ECONNRESET);
	}
	fake_loop_settle(f->loop);
	for (unsigned int i = 0; i < DNS_TCP_MAX; i++) {
		assert_true(more[i].is_reset);
		mem_stream_deinit(&more[i]);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_the_owner_knows_is_answered),
		TEST(byte_by_byte_too),
		TEST(other_names_are_the_hosts_resolvers),
		TEST(no_answer_cuts_another_in_two),
		TEST(a_guest_that_has_asked_all_gets_its_answers),
		TEST(without_a_resolver_that_is_said),
		TEST(one_that_refuses_ends_the_connection),
		TEST(what_is_no_query_ends_it),
		TEST(a_query_beyond_reason_ends_it),
		TEST(a_guest_that_does_not_read_is_not_answered_without_end),
		TEST(a_silent_one_is_ended),
		TEST(the_one_silent_for_longest_makes_room),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
