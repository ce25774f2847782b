/* SPDX-License-Identifier: Apache-2.0 */
/* Which way into the guest a connection takes, with tunnels in memory. */
#include "forwarder/ways.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "tests/support/fake_loop.h"
#include "tests/support/mem_stream.h"

#define N_KINDS (RULE_VIA_NONE + 1)

/* Hands out one stream that never was connected, unless told otherwise. */
struct fake_tunnel {
	struct tunnel base;
	struct mem_stream stream;
	int dial_result;
	bool is_connected;
	unsigned int n_dials, n_flows;
	char path[64]; /* of the last dial */
	bool is_freed;
};

struct fixture {
	struct loop *loop;
	struct ways *ways;
	struct fake_tunnel tunnels[N_KINDS];
	struct stream *stream; /* the one being used, not ended */
	unsigned int n_ready, n_changes;
};

static struct loop *the_loop;

static struct fake_tunnel *fake(struct tunnel *t)
{
	return container_of(t, struct fake_tunnel, base);
}

static int fake_dial(struct tunnel *base, const struct tunnel_place *guest, struct stream **out)
{
	struct fake_tunnel *t = fake(base);

	t->n_dials++;
	(void)snprintf(t->path, sizeof(t->path), "%s", guest->path ? guest->path : "");
	if (t->dial_result < 0)
		return t->dial_result;
	mem_stream_init(&t->stream, the_loop, MEM_STREAM_PEEK | MEM_STREAM_RESERVE);
	t->stream.is_connecting = !t->is_connected;
	*out = &t->stream.base;
	return 0;
}

static int fake_open_udp(struct tunnel *base, const struct endpoint *guest,
			 const struct udp_flow_owner *owner, void *arg, struct udp_flow **out)
{
	static struct udp_flow flow;

	(void)guest;
	(void)owner;
	(void)arg;
	if (fake(base)->dial_result < 0)
		return fake(base)->dial_result;
	fake(base)->n_flows++;
	*out = &flow;
	return 0;
}

static void fake_free(struct tunnel *base)
{
	fake(base)->is_freed = true;
}

static const struct tunnel_ops with_udp = {
	.dial = fake_dial,
	.open_udp = fake_open_udp,
	.free = fake_free,
};
static const struct tunnel_ops without_udp = { .dial = fake_dial, .free = fake_free };

static struct fake_tunnel *add(struct fixture *f, enum rule_via kind)
{
	struct fake_tunnel *t = &f->tunnels[kind];

	*t = (struct fake_tunnel){
		.base = { .ops = kind == RULE_VIA_SSH ? &without_udp : &with_udp,
			  .name = rule_via_name(kind),
			  .state = TUNNEL_UP },
	};
	ways_add(f->ways, kind, &t->base);
	return t;
}

static void set_state(struct fixture *f, enum rule_via kind, enum tunnel_state state)
{
	f->tunnels[kind].base.state = state;
	f->tunnels[kind].base.changed(f->tunnels[kind].base.changed_arg);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(loop_new(&f->loop), 0);
	the_loop = f->loop;
	assert_int_equal(ways_new(f->loop, &f->ways), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->stream)
		f->stream->ops->reset(f->stream);
	ways_free(f->ways);
	for (unsigned int i = 0; i < N_KINDS; i++) {
		struct fake_tunnel *t = &f->tunnels[i];

		if (!t->base.ops)
			continue;
		assert_true(t->is_freed);
		if (t->stream.base.ops) {
			assert_true(t->stream.is_closed || t->stream.is_reset);
			mem_stream_deinit(&t->stream);
		}
	}
	loop_free(f->loop);
	free(f);
	return 0;
}

static struct way_request tcp(enum rule_via via, const char *address)
{
	struct way_request r = { .via = via, .proto = FORWARD_TCP, .guest.endpoint.port = 80 };

	assert_int_equal(ipaddr_parse(address, &r.guest.endpoint.addr), 0);
	return r;
}

static void on_ready(void *arg)
{
	struct fixture *f = arg;

	f->n_ready++;
}

static int dial(struct fixture *f, struct way_request request)
{
	int r = ways_dial(f->ways, &request, &f->stream);

	if (r == 0)
		stream_set_ready(f->stream, on_ready, f);
	return r;
}

static ssize_t connected(struct fixture *f)
{
	return f->stream->ops->write(f->stream, NULL, 0);
}

/* ---- which ---- */

static void expect_way(struct fixture *f, struct way_request request, enum rule_via expected)
{
	assert_int_equal(ways_now(f->ways, &request), expected);
	assert_true(!!ways_why_not(f->ways, &request) == (expected == RULE_VIA_NONE));
}

static void auto_takes_the_fastest_way_that_reaches_the_place(void **state)
{
	struct fixture *f = *state;

	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_NONE);
	add(f, RULE_VIA_SSH);
	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_SSH);
	add(f, RULE_VIA_GRPC);
	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_GRPC);
	add(f, RULE_VIA_DIRECT);
	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_DIRECT);
	expect_way(f, tcp(RULE_VIA_AUTO, "::"), RULE_VIA_DIRECT);
	expect_way(f, tcp(RULE_VIA_AUTO, "192.168.5.15"), RULE_VIA_DIRECT);
	expect_way(f, tcp(RULE_VIA_DEFAULT, "192.168.5.15"), RULE_VIA_DIRECT);
	expect_way(f, tcp(RULE_VIA_AUTO, "127.0.0.1"), RULE_VIA_GRPC);
	expect_way(f, tcp(RULE_VIA_AUTO, "::1"), RULE_VIA_GRPC);
	add(f, RULE_VIA_NETNS);
	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_NETNS);
	expect_way(f, tcp(RULE_VIA_AUTO, "127.0.0.1"), RULE_VIA_NETNS);
}

static void auto_prefers_what_is_up(void **state)
{
	struct fixture *f = *state;

	add(f, RULE_VIA_GRPC);
	add(f, RULE_VIA_SSH);
	set_state(f, RULE_VIA_GRPC, TUNNEL_CONNECTING);
	expect_way(f, tcp(RULE_VIA_AUTO, "127.0.0.1"), RULE_VIA_SSH);
	set_state(f, RULE_VIA_SSH, TUNNEL_DOWN);
	expect_way(f, tcp(RULE_VIA_AUTO, "127.0.0.1"), RULE_VIA_GRPC);
	set_state(f, RULE_VIA_GRPC, TUNNEL_FAILED);
	expect_way(f, tcp(RULE_VIA_AUTO, "127.0.0.1"), RULE_VIA_SSH);
}

static void a_named_way_is_the_only_one(void **state)
{
	struct fixture *f = *state;

	add(f, RULE_VIA_DIRECT);
	add(f, RULE_VIA_GRPC);
	expect_way(f, tcp(RULE_VIA_SSH, "0.0.0.0"), RULE_VIA_NONE);
	assert_int_equal(dial(f, tcp(RULE_VIA_SSH, "0.0.0.0")), -ENOTCONN);
	expect_way(f, tcp(RULE_VIA_DIRECT, "127.0.0.1"), RULE_VIA_NONE);
	expect_way(f, tcp(RULE_VIA_GRPC, "127.0.0.1"), RULE_VIA_GRPC);
	set_state(f, RULE_VIA_GRPC, TUNNEL_DOWN); /* it is there, so the port is */
	expect_way(f, tcp(RULE_VIA_GRPC, "127.0.0.1"), RULE_VIA_GRPC);
}

static void a_static_forward_may_go_by_the_nic_to_the_loopback(void **state)
{
	struct fixture *f = *state;
	struct way_request request = tcp(RULE_VIA_DIRECT, "127.0.0.1");

	add(f, RULE_VIA_DIRECT);
	request.is_static = true;
	expect_way(f, request, RULE_VIA_DIRECT);
}

static void the_nic_does_not_reach_unix_sockets_nor_ssh_udp(void **state)
{
	struct fixture *f = *state;
	struct way_request request = { .via = RULE_VIA_AUTO, .guest.path = "/run/docker.sock" };

	add(f, RULE_VIA_DIRECT);
	expect_way(f, request, RULE_VIA_NONE);
	add(f, RULE_VIA_SSH);
	expect_way(f, request, RULE_VIA_SSH);
	request = tcp(RULE_VIA_AUTO, "127.0.0.1");
	request.proto = FORWARD_UDP;
	expect_way(f, request, RULE_VIA_NONE);
}

/* ---- connections ---- */

static void a_single_way_has_no_detour(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *t = add(f, RULE_VIA_GRPC);

	assert_int_equal(dial(f, tcp(RULE_VIA_GRPC, "0.0.0.0")), 0);
	assert_ptr_equal(f->stream, &t->stream.base);
}

static void the_stream_becomes_that_of_the_way_that_connects(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *t = add(f, RULE_VIA_DIRECT);
	struct iovec iov = { (void *)(uintptr_t) "hello", 5 }, got[2];
	int n;

	add(f, RULE_VIA_GRPC);
	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "0.0.0.0")), 0);
	fake_loop_settle(f->loop);
	assert_int_equal(connected(f), -EAGAIN);
	assert_int_equal(f->stream->ops->reserve(f->stream, got, 2, &n), -EAGAIN);

	mem_stream_connected(&t->stream);
	mem_stream_give_room(&t->stream, 100);
	fake_loop_settle(f->loop);
	assert_int_equal(connected(f), 0);
	assert_true(f->n_ready > 0);
	assert_int_equal(f->stream->ops->write(f->stream, &iov, 1), 5);
	assert_memory_equal(t->stream.output, "hello", 5);
	mem_stream_feed(&t->stream, "yes", 3);
	assert_non_null(f->stream->ops->peek);
	assert_int_equal(f->stream->ops->peek(f->stream, got, 2, &n), 3);
	f->stream->ops->consume(f->stream, 3);
	assert_int_equal(f->tunnels[RULE_VIA_GRPC].n_dials, 0);
	fake_loop_advance(f->loop, 10 * WAYS_NIC_TIMEOUT_MS);
	assert_int_equal(connected(f), 0);
}

static void a_refusal_of_the_nic_leads_to_the_tunnel(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *nic = add(f, RULE_VIA_DIRECT), *agent = add(f, RULE_VIA_GRPC);

	agent->is_connected = true;
	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "0.0.0.0")), 0);
	mem_stream_break(&nic->stream, -ECONNREFUSED);
	fake_loop_settle(f->loop);
	assert_true(nic->stream.is_reset);
	assert_int_equal(agent->n_dials, 1);
	assert_int_equal(connected(f), 0);
}

static void the_refusal_of_a_tunnel_is_final(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *agent = add(f, RULE_VIA_GRPC), *ssh = add(f, RULE_VIA_SSH);

	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "127.0.0.1")), 0);
	mem_stream_break(&agent->stream, -ECONNREFUSED);
	fake_loop_settle(f->loop);
	assert_int_equal(connected(f), -ECONNREFUSED);
	assert_int_equal(f->stream->error, -ECONNREFUSED);
	assert_int_equal(ssh->n_dials, 0);
}

static void a_tunnel_that_is_lost_leads_to_the_next(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *agent = add(f, RULE_VIA_GRPC), *ssh = add(f, RULE_VIA_SSH);

	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "127.0.0.1")), 0);
	mem_stream_break(&agent->stream, -ENOTCONN);
	fake_loop_settle(f->loop);
	assert_int_equal(ssh->n_dials, 1);
	mem_stream_connected(&ssh->stream);
	fake_loop_settle(f->loop);
	assert_int_equal(connected(f), 0);
}

static void a_way_that_cannot_even_be_tried_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *agent = add(f, RULE_VIA_GRPC), *ssh = add(f, RULE_VIA_SSH);
	struct way_request request = { .via = RULE_VIA_AUTO, .guest.path = "/run/docker.sock" };

	agent->dial_result = -ENOTCONN;
	assert_int_equal(dial(f, request), 0);
	assert_string_equal(ssh->path, "/run/docker.sock");
	assert_ptr_equal(f->stream, &ssh->stream.base); /* the last one: nothing to wait for */
	f->stream->ops->reset(f->stream);
	f->stream = NULL;
	mem_stream_deinit(&ssh->stream);
	ssh->stream.base.ops = NULL;
	ssh->dial_result = -ENOTCONN;
	assert_int_equal(dial(f, request), -ENOTCONN);
}

static void a_silent_nic_is_given_up_and_comes_last_for_a_while(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *nic = add(f, RULE_VIA_DIRECT), *agent = add(f, RULE_VIA_GRPC);

	agent->is_connected = true;
	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "0.0.0.0")), 0);
	fake_loop_advance(f->loop, WAYS_NIC_TIMEOUT_MS - 1);
	assert_int_equal(connected(f), -EAGAIN);
	fake_loop_advance(f->loop, 1);
	assert_true(nic->stream.is_reset);
	assert_int_equal(connected(f), 0);
	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_GRPC);
	fake_loop_advance(f->loop, WAYS_NIC_SHUN_MS);
	expect_way(f, tcp(RULE_VIA_AUTO, "0.0.0.0"), RULE_VIA_DIRECT);
}

static void when_no_way_works_a_refusal_is_what_is_told(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *nic = add(f, RULE_VIA_DIRECT), *agent = add(f, RULE_VIA_GRPC);

	agent->dial_result = -ENOTCONN;
	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "0.0.0.0")), 0);
	mem_stream_break(&nic->stream, -ECONNREFUSED);
	fake_loop_settle(f->loop);
	assert_int_equal(connected(f), -ECONNREFUSED);
}

static void a_user_who_leaves_early_ends_the_try(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *nic = add(f, RULE_VIA_DIRECT);

	add(f, RULE_VIA_GRPC);
	assert_int_equal(dial(f, tcp(RULE_VIA_AUTO, "0.0.0.0")), 0);
	f->stream->ops->close(f->stream);
	f->stream = NULL;
	assert_true(nic->stream.is_reset);
	fake_loop_advance(f->loop, 10 * WAYS_NIC_TIMEOUT_MS);
}

static void udp_takes_the_first_way_that_can_be_had(void **state)
{
	struct fixture *f = *state;
	struct fake_tunnel *nic = add(f, RULE_VIA_DIRECT), *agent = add(f, RULE_VIA_GRPC);
	struct way_request request = tcp(RULE_VIA_AUTO, "0.0.0.0");
	struct udp_flow *flow;

	request.proto = FORWARD_UDP;
	assert_int_equal(ways_open_udp(f->ways, &request, NULL, NULL, &flow), 0);
	nic->dial_result = -ENETDOWN;
	assert_int_equal(ways_open_udp(f->ways, &request, NULL, NULL, &flow), 0);
	assert_int_equal(nic->n_flows, 1);
	assert_int_equal(agent->n_flows, 1);
}

static void on_change(void *arg)
{
	struct fixture *f = arg;

	f->n_changes++;
}

static void changes_of_state_are_told_once(void **state)
{
	struct fixture *f = *state;

	add(f, RULE_VIA_SSH);
	ways_on_change(f->ways, on_change, f);
	set_state(f, RULE_VIA_SSH, TUNNEL_DOWN);
	set_state(f, RULE_VIA_SSH, TUNNEL_DOWN);
	assert_int_equal(f->n_changes, 1);
}

static int fake_listen(struct tunnel *t, const struct tunnel_place *guest,
		       const struct tunnel_accept *accept, void *arg, struct tunnel_listener **out)
{
	(void)t;
	(void)guest;
	(void)accept;
	(void)arg;
	(void)out;
	return -ENOTCONN;
}

static int fake_listen_udp(struct tunnel *t, const struct endpoint *guest,
			   const struct tunnel_accept *accept, void *arg,
			   struct tunnel_listener **out)
{
	(void)t;
	(void)guest;
	(void)accept;
	(void)arg;
	(void)out;
	return -ENOTCONN;
}

static const struct tunnel_ops listening = {
	.dial = fake_dial,
	.listen = fake_listen,
	.listen_udp = fake_listen_udp,
	.free = fake_free,
};

static void who_listens_in_the_guest_is_a_way_whose_other_end_can(void **state)
{
	struct fixture *f = *state;
	struct tunnel *raw = &add(f, RULE_VIA_VSOCK)->base, *grpc = &add(f, RULE_VIA_GRPC)->base;
	const char *why = NULL;

	raw->ops = grpc->ops = &listening;
	assert_ptr_equal(ways_listener(f->ways, RULE_VIA_AUTO, FORWARD_UDP, &why), raw);
	/* an agent of an earlier version */
	raw->lacks = TUNNEL_LACKS_LISTEN | TUNNEL_LACKS_LISTEN_UDP;
	assert_ptr_equal(ways_listener(f->ways, RULE_VIA_AUTO, FORWARD_UDP, &why), grpc);
	grpc->lacks = TUNNEL_LACKS_LISTEN_UDP;
	assert_ptr_equal(ways_listener(f->ways, RULE_VIA_AUTO, FORWARD_TCP, &why), grpc);
	assert_null(ways_listener(f->ways, RULE_VIA_AUTO, FORWARD_UDP, &why));
	assert_non_null(strstr(why, "the agent in the guest cannot listen for UDP"));
	assert_null(ways_listener(f->ways, RULE_VIA_VSOCK, FORWARD_TCP, &why));
	assert_non_null(strstr(why, "the agent in the guest cannot listen there"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(auto_takes_the_fastest_way_that_reaches_the_place),
		TEST(auto_prefers_what_is_up),
		TEST(a_named_way_is_the_only_one),
		TEST(a_static_forward_may_go_by_the_nic_to_the_loopback),
		TEST(the_nic_does_not_reach_unix_sockets_nor_ssh_udp),
		TEST(a_single_way_has_no_detour),
		TEST(the_stream_becomes_that_of_the_way_that_connects),
		TEST(a_refusal_of_the_nic_leads_to_the_tunnel),
		TEST(the_refusal_of_a_tunnel_is_final),
		TEST(a_tunnel_that_is_lost_leads_to_the_next),
		TEST(a_way_that_cannot_even_be_tried_is_passed_over),
		TEST(a_silent_nic_is_given_up_and_comes_last_for_a_while),
		TEST(when_no_way_works_a_refusal_is_what_is_told),
		TEST(a_user_who_leaves_early_ends_the_try),
		TEST(udp_takes_the_first_way_that_can_be_had),
		TEST(changes_of_state_are_told_once),
		TEST(who_listens_in_the_guest_is_a_way_whose_other_end_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
