/* SPDX-License-Identifier: Apache-2.0 */
/* How connections of a guest to the host end: who closes first, who is slow,
 * what is lost, and that nothing stays behind. */
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
#include "tests/support/host_socket.h"
#include "tests/support/outgoing.h"
#include "tests/support/own_network.h"

#define SOME 500000U
#define MINUTE_MS 60000U

struct fixture {
	struct outgoing o;
	unsigned int descriptors; /* before the connection */
};

static int setup(void **state)
{
	static struct fixture f;
	int small = 4096;
	int r = outgoing_start(&f.o, &fake_link_plain, "127.0.0.1");

	*state = &f;
	(void)setsockopt(f.o.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	f.descriptors = host_descriptors();
	if (r == 0)
		outgoing_connect(&f.o, &wire_gateway4);
	return r;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	outgoing_stop(&f->o);
	return 0;
}

static void guest_sends_fin(struct fixture *f)
{
	tcp_peer_send(&f->o.peer, TCP_FLAG_FIN | TCP_FLAG_ACK, NULL, 0);
}

static void server_closes(struct fixture *f)
{
	close(f->o.server);
	f->o.server = -1;
}

static void assert_nothing_left(struct fixture *f)
{
	GUEST_UNTIL(&f->o.guest, guest_counter(&f->o.guest, "tcp.out.open") == 0);
	if (f->o.server >= 0)
		server_closes(f);
	guest_advance(&f->o.guest, 5000);
	assert_int_equal(guest_counter(&f->o.guest, "tcp.connections"), 0);
	assert_int_equal(host_descriptors(), f->descriptors);
}

/* --- in order --------------------------------------------------------------- */

static void the_guest_may_close_first(void **state)
{
	struct fixture *f = *state;

	outgoing_guest_writes(&f->o, 0, SOME, true);
	guest_sends_fin(f);
	GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
	assert_int_equal(f->o.got_len, SOME);
	assert_int_equal(outgoing_server_writes(&f->o, 0, SOME), SOME); /* the answer */
	GUEST_UNTIL(&f->o.guest, f->o.peer.received_len >= SOME);
	outgoing_assert_guest_got(&f->o, SOME);
	assert_false(f->o.peer.has_fin);
	assert_int_equal(guest_counter(&f->o.guest, "tcp.out.open"), 1);

	server_closes(f);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
	assert_false(f->o.peer.has_rst);
	assert_nothing_left(f);
}

static void the_server_may_close_first(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(outgoing_server_writes(&f->o, 0, SOME), SOME);
	assert_int_equal(shutdown(f->o.server, SHUT_WR), 0);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
	outgoing_assert_guest_got(&f->o, SOME);
	outgoing_guest_writes(&f->o, 0, SOME, true);
	GUEST_UNTIL(&f->o.guest, outgoing_has(&f->o, SOME));
	assert_int_equal(guest_counter(&f->o.guest, "tcp.out.open"), 1);

	guest_sends_fin(f);
	GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
	assert_false(f->o.peer.has_rst);
	assert_nothing_left(f);
}

static void a_port_may_be_used_again_at_once(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(shutdown(f->o.server, SHUT_WR), 0); /* TIME_WAIT is ours */
		GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
		guest_sends_fin(f);
		GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
		GUEST_UNTIL(&f->o.guest, guest_counter(&f->o.guest, "tcp.out.open") == 0);
		assert_false(f->o.peer.has_rst);
		tcp_peer_deinit(&f->o.peer);
		server_closes(f);
		outgoing_connect(&f->o, &wire_gateway4); /* the same ports */
	}
}

/* --- slow ones -------------------------------------------------------------- */

/* Writes until the host holds a good part, as the server does not read. */
static size_t fill(struct fixture *f)
{
	size_t at = 0;

	while (at < 1000000 || f->o.peer.host_window > 3000000) {
		size_t n = tcp_peer_write(&f->o.peer, outgoing_data + at, 14600);

		assert_int_equal(n, 14600);
		at += n;
		guest_run(&f->o.guest);
	}
	assert_int_equal(f->o.peer.acked, f->o.peer.seq);
	return at;
}

static void server_reads_to_the_end(struct fixture *f, size_t len)
{
	GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
	assert_int_equal(f->o.got_len, len);
	assert_memory_equal(f->o.got, outgoing_data, len);
	assert_false(f->o.peer.has_rst);
	assert_nothing_left(f);
}

/* lwIP is done with the connection long before the server has read it. */
static void a_slow_server_gets_all_after_the_guest_closed_first(void **state)
{
	struct fixture *f = *state;
	size_t len = fill(f);

	guest_sends_fin(f);
	guest_run(&f->o.guest);
	assert_int_equal(shutdown(f->o.server, SHUT_WR), 0);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
	guest_advance(&f->o.guest, MINUTE_MS);
	server_reads_to_the_end(f, len);
}

static void a_slow_server_gets_all_after_it_closed_first(void **state)
{
	struct fixture *f = *state;
	size_t len;

	assert_int_equal(shutdown(f->o.server, SHUT_WR), 0);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
	len = fill(f);
	guest_sends_fin(f);
	guest_advance(&f->o.guest, MINUTE_MS);
	server_reads_to_the_end(f, len);
}

static void a_slow_server_gets_all_after_both_closed_at_once(void **state)
{
	struct fixture *f = *state;
	size_t len = fill(f);

	f->o.peer.does_not_ack = true;
	assert_int_equal(shutdown(f->o.server, SHUT_WR), 0);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
	tcp_peer_send_at(&f->o.peer, TCP_FLAG_FIN | TCP_FLAG_ACK, 0, -1, NULL, 0);
	f->o.peer.seq++;
	guest_run(&f->o.guest);
	tcp_peer_ack(&f->o.peer);
	guest_advance(&f->o.guest, MINUTE_MS);
	server_reads_to_the_end(f, len);
}

/* A new connection with the same ports comes before the old one is read. */
static void a_slow_server_gets_all_though_the_port_is_used_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_peer old, again;
	int server;
	size_t len;

	assert_int_equal(shutdown(f->o.server, SHUT_WR), 0);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_fin);
	len = fill(f);
	guest_sends_fin(f);
	guest_run(&f->o.guest);
	old = f->o.peer;
	list_unlink(&f->o.peer.node);

	tcp_peer_init(&again, &f->o.guest, &wire_gateway4, old.wire.src.port, f->o.port);
	again.seq = again.first_seq = old.seq + 100000;
	tcp_peer_syn(&again);
	GUEST_UNTIL(&f->o.guest, again.has_syn && (server = host_accept(f->o.listener)) >= 0);
	GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
	assert_int_equal(f->o.got_len, len);
	assert_memory_equal(f->o.got, outgoing_data, len);
	close(server);
	GUEST_UNTIL(&f->o.guest, again.has_fin);
	tcp_peer_deinit(&again);
	list_append(&f->o.guest.peers, &f->o.peer.node);
}

static void guest_stops_reading(struct fixture *f)
{
	f->o.peer.window = 0;
	tcp_peer_ack(&f->o.peer);
}

static void guest_reads_again(struct fixture *f)
{
	f->o.peer.window = 1 << 20;
	tcp_peer_ack(&f->o.peer);
}

/* The guest has closed its direction; the answer waits for its reader. Of a short
 * one the FIN is queued at once, of a long one only when there is room. */
static void slow_answer(struct fixture *f, size_t len)
{
	guest_sends_fin(f);
	guest_stops_reading(f);
	assert_int_equal(outgoing_server_writes(&f->o, 0, len), len);
	server_closes(f);
	guest_advance(&f->o.guest, MINUTE_MS);
	assert_false(f->o.peer.has_fin);
	assert_false(f->o.peer.has_rst);

	guest_reads_again(f);
	guest_advance(&f->o.guest, MINUTE_MS);
	outgoing_assert_guest_got(&f->o, len);
	assert_true(f->o.peer.has_fin);
	assert_nothing_left(f);
}

static void a_slow_guest_gets_all_after_it_closed_first(void **state)
{
	slow_answer(*state, SOME);
}

static void a_slow_guest_gets_a_short_answer_after_it_closed_first(void **state)
{
	slow_answer(*state, 1000);
}

static void a_slow_guest_gets_all_after_the_server_closed_first(void **state)
{
	struct fixture *f = *state;

	guest_stops_reading(f);
	assert_int_equal(outgoing_server_writes(&f->o, 0, SOME), SOME);
	server_closes(f);
	guest_advance(&f->o.guest, MINUTE_MS);
	assert_false(f->o.peer.has_rst);

	guest_reads_again(f);
	guest_advance(&f->o.guest, MINUTE_MS);
	outgoing_assert_guest_got(&f->o, SOME);
	assert_true(f->o.peer.has_fin);
	guest_sends_fin(f);
	assert_nothing_left(f);
}

/* The guest's machine sleeps: its link takes nothing for a while. */
static void a_guest_that_sleeps_gets_all(void **state)
{
	struct fixture *f = *state;

	guest_sends_fin(f);
	guest_run(&f->o.guest);
	f->o.guest.link.is_full = true;
	assert_int_equal(outgoing_server_writes(&f->o, 0, SOME), SOME);
	server_closes(f);
	guest_advance(&f->o.guest, 10 * MINUTE_MS);
	assert_int_equal(f->o.peer.received_len, 0);

	fake_link_make_room(&f->o.guest.link);
	guest_advance(&f->o.guest, MINUTE_MS);
	outgoing_assert_guest_got(&f->o, SOME);
	assert_true(f->o.peer.has_fin);
	assert_nothing_left(f);
}

/* --- losses ----------------------------------------------------------------- */

/* Loses the first `*arg` segments with FIN. */
static bool lose_fins(struct tcp_peer *p, const struct tcp_segment *s)
{
	unsigned int *left = p->filter_arg;

	if (!(s->flags & TCP_FLAG_FIN) || *left == 0)
		return true;
	--*left;
	return false;
}

static void a_lost_fin_is_sent_again(void **state)
{
	struct fixture *f = *state;
	unsigned int left = 3;

	f->o.peer.filter = lose_fins;
	f->o.peer.filter_arg = &left;
	assert_int_equal(outgoing_server_writes(&f->o, 0, SOME), SOME);
	guest_sends_fin(f);
	GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
	server_closes(f);
	guest_advance(&f->o.guest, 2 * MINUTE_MS);
	assert_int_equal(left, 0);
	outgoing_assert_guest_got(&f->o, SOME);
	assert_true(f->o.peer.has_fin);
	assert_nothing_left(f);
}

static bool lose_all(struct tcp_peer *p, const struct tcp_segment *s)
{
	(void)p;
	(void)s;
	return false;
}

/* Its kernel has crashed: nobody says anything. */
static void a_guest_that_is_gone_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->o.peer.filter = lose_all;
	guest_advance(&f->o.guest, 15 * MINUTE_MS);
	assert_int_equal(guest_counter(&f->o.guest, "tcp.out.open"), 0);
	assert_int_equal(outgoing_read(&f->o), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_nothing_left(f);
}

/* Nobody holds the stream any more then, on either side. */
static void gone_and_closed(struct fixture *f)
{
	f->o.peer.filter = lose_all;
	assert_int_equal(write(f->o.server, outgoing_data, 1000), 1000);
	server_closes(f);
	guest_advance(&f->o.guest, 120 * MINUTE_MS);
	assert_nothing_left(f);
}

static void a_guest_that_is_gone_after_the_server_closed_is_given_up(void **state)
{
	gone_and_closed(*state);
}

static void a_guest_that_is_gone_after_its_fin_is_given_up(void **state)
{
	struct fixture *f = *state;

	guest_sends_fin(f);
	GUEST_UNTIL(&f->o.guest, outgoing_ended(&f->o));
	gone_and_closed(f);
}

static void a_guest_that_is_gone_with_data_in_flight_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->o.peer.filter = lose_all;
	assert_int_equal(write(f->o.server, outgoing_data, 1000), 1000);
	guest_advance(&f->o.guest, 30 * MINUTE_MS);
	assert_int_equal(guest_counter(&f->o.guest, "tcp.out.open"), 0);
	assert_nothing_left(f);
}

/* --- resets ----------------------------------------------------------------- */

static bool server_is_reset(struct fixture *f)
{
	ssize_t n = outgoing_read(&f->o);

	assert_int_not_equal(n, 0);
	return n < 0 && errno == ECONNRESET;
}

static void a_reset_of_the_guest_reaches_the_server(void **state)
{
	struct fixture *f = *state;

	outgoing_guest_writes(&f->o, 0, 1000, true);
	tcp_peer_send(&f->o.peer, TCP_FLAG_RST, NULL, 0);
	GUEST_UNTIL(&f->o.guest, server_is_reset(f));
	assert_nothing_left(f);
}

static void a_reset_of_the_guest_reaches_a_server_that_does_not_read(void **state)
{
	struct fixture *f = *state;

	(void)fill(f);
	tcp_peer_send(&f->o.peer, TCP_FLAG_RST, NULL, 0);
	GUEST_UNTIL(&f->o.guest, guest_counter(&f->o.guest, "tcp.out.open") == 0);
	GUEST_UNTIL(&f->o.guest, server_is_reset(f));
	assert_nothing_left(f);
}

static void a_reset_of_the_server_reaches_the_guest(void **state)
{
	struct linger now = { .l_onoff = 1 };
	struct fixture *f = *state;

	outgoing_guest_writes(&f->o, 0, 1000, true);
	assert_int_equal(setsockopt(f->o.server, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	server_closes(f);
	GUEST_UNTIL(&f->o.guest, f->o.peer.has_rst);
	assert_false(f->o.peer.has_fin);
	assert_nothing_left(f);
}

static void a_reset_from_elsewhere_is_not_believed(void **state)
{
	struct fixture *f = *state;

	outgoing_guest_writes(&f->o, 0, 1000, true);
	tcp_peer_send_at(&f->o.peer, TCP_FLAG_RST, 1, 0, NULL, 0); /* RFC 5961 */
	tcp_peer_send_at(&f->o.peer, TCP_FLAG_RST, -1, 0, NULL, 0);
	tcp_peer_send_at(&f->o.peer, TCP_FLAG_SYN, 0, 0, NULL, 0);
	tcp_peer_send_at(&f->o.peer, TCP_FLAG_SYN, 5000000, 0, NULL, 0);
	guest_run(&f->o.guest);
	assert_int_equal(outgoing_guest_writes(&f->o, 1000, 2000, true), 2000);
	GUEST_UNTIL(&f->o.guest, outgoing_has(&f->o, 2000));
}

static void the_end_of_the_stack_resets_everybody(void **state)
{
	struct fixture *f = *state;
	struct guest *g = &f->o.guest;
	struct sent_frame *s;
	unsigned int n = 0;

	(void)fill(f);
	guest_run(g);
	stack_free(g->stack);
	g->stack = NULL;
	while ((s = fake_link_take(&g->link))) {
		n += s->packet.kind == PACKET_TCP && (s->packet.tcp_flags & TCP_FLAG_RST);
		free(s);
	}
	assert_int_equal(n, 1);
	while (outgoing_read(&f->o) > 0)
		;
	assert_int_equal(errno, ECONNRESET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_guest_may_close_first),
		TEST(the_server_may_close_first),
		TEST(a_port_may_be_used_again_at_once),
		TEST(a_slow_server_gets_all_after_the_guest_closed_first),
		TEST(a_slow_server_gets_all_after_it_closed_first),
		TEST(a_slow_server_gets_all_after_both_closed_at_once),
		TEST(a_slow_server_gets_all_though_the_port_is_used_again),
		TEST(a_slow_guest_gets_all_after_it_closed_first),
		TEST(a_slow_guest_gets_a_short_answer_after_it_closed_first),
		TEST(a_slow_guest_gets_all_after_the_server_closed_first),
		TEST(a_guest_that_sleeps_gets_all),
		TEST(a_lost_fin_is_sent_again),
		TEST(a_guest_that_is_gone_is_given_up),
		TEST(a_guest_that_is_gone_after_the_server_closed_is_given_up),
		TEST(a_guest_that_is_gone_after_its_fin_is_given_up),
		TEST(a_guest_that_is_gone_with_data_in_flight_is_given_up),
		TEST(a_reset_of_the_guest_reaches_the_server),
		TEST(a_reset_of_the_guest_reaches_a_server_that_does_not_read),
		TEST(a_reset_of_the_server_reaches_the_guest),
		TEST(a_reset_from_elsewhere_is_not_believed),
		TEST(the_end_of_the_stack_resets_everybody),
	};

	own_network_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
