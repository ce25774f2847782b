/* SPDX-License-Identifier: Apache-2.0 */
/* The messages, packed and read back, and the bytes that must never change. */
#include "forwarder/rpc/messages.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder/rpc/grpc_message.h"

static const uint8_t *body(const struct message *m)
{
	return m->data + GRPC_PREFIX_SIZE;
}

static size_t body_len(const struct message *m)
{
	return m->len - GRPC_PREFIX_SIZE;
}

static void assert_body(struct message *m, const void *expected, size_t len)
{
	assert_int_equal(body_len(m), len);
	assert_memory_equal(body(m), expected, len);
	free(m->data);
}

/* Field numbers of Lima's messages, as they are on the wire. */
static void bytes_of_guest_service_never_change(void **state)
{
	struct rpc_listener added = { false, { IPADDR_V4(127, 0, 0, 1), 80 } };
	struct message_ports ports = { .added = &added, .n_added = 1 };
	struct guest_open open = { "id", true, { IPADDR_V4(10, 0, 0, 1), 53 } };
	struct message m;

	(void)state;
	assert_int_equal(message_guest_info(&ports, &m), 0);
	assert_body(&m,
		    "\x0a\x12\x0a\x03tcp\x12\x09"
		    "127.0.0.1\x18\x50",
		    20);
	assert_int_equal(message_guest_open(&open, &m), 0);
	assert_body(&m,
		    "\x0a\x02id\x12\x03udp\x22\x0b"
		    "10.0.0.1:53",
		    22);
	assert_int_equal(message_guest_time(300, &m), 0);
	assert_body(&m, "\x10\xac\x02", 3);
	assert_int_equal(message_empty(&m), 0);
	assert_body(&m, "", 0);
}

static void bytes_of_our_own_service_never_change(void **state)
{
	struct rpc_flow_message open = {
		.kind = RPC_FLOW_OPEN,
		.open = { .place.endpoint = { IPADDR_V4(127, 0, 0, 1), 80 } },
	};
	struct rpc_flow_message opened = { .kind = RPC_FLOW_OPENED, .error = -ECONNREFUSED };
	struct rpc_flow_message fin = { .kind = RPC_FLOW_FIN };
	struct rpc_flow_message refused = { .kind = RPC_FLOW_REFUSED };
	struct rpc_hello hello = { .protocol = 1, .features = 7, .version = "0" };
	struct message m;

	(void)state;
	assert_int_equal(message_flow(&open, &m), 0);
	assert_body(&m, "\x12\x0a\x12\x08\x0a\x04\x7f\x00\x00\x01\x10\x50", 12);
	assert_int_equal(message_flow(&opened, &m), 0);
	assert_body(&m, "\x1a\x02\x08\x6f", 4);
	assert_int_equal(message_flow(&fin, &m), 0);
	assert_body(&m, "\x22\x00", 2);
	assert_int_equal(message_flow(&refused, &m), 0);
	assert_body(&m, "\x2a\x00", 2);
	assert_int_equal(message_hello(&hello, &m), 0);
	assert_body(&m, "\x08\x01\x12\x01\x30\x18\x07", 7);
}

static void flow_messages_are_read_back(void **state)
{
	const struct rpc_flow_message all[] = {
		{ .kind = RPC_FLOW_OPEN,
		  .open = { .is_udp = true, .place.endpoint = { { { 0xfd, [15] = 1 } }, 53 } } },
		{ .kind = RPC_FLOW_OPEN, .open = { .place.path = "/run/docker.sock" } },
		{ .kind = RPC_FLOW_OPEN, .open = { .accepted = 77 } },
		{ .kind = RPC_FLOW_OPENED },
		{ .kind = RPC_FLOW_OPENED, .error = -EHOSTUNREACH },
		{ .kind = RPC_FLOW_FIN },
		{ .kind = RPC_FLOW_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct rpc_flow_message back;
		struct message m;

		assert_int_equal(message_flow(&all[i], &m), 0);
		assert_int_equal(message_parse_flow(body(&m), body_len(&m), &back), 0);
		free(m.data);
		assert_int_equal(back.kind, all[i].kind);
		assert_int_equal(back.error, all[i].error);
		assert_int_equal(back.open.is_udp, all[i].open.is_udp);
		assert_int_equal(back.open.accepted, all[i].open.accepted);
		assert_string_equal(back.open.place.path, all[i].open.place.path);
		assert_true(endpoint_equal(&back.open.place.endpoint, &all[i].open.place.endpoint));
	}
}

struct seen {
	unsigned int n_added, n_removed;
	struct rpc_listener last;
};

static void on_listener(void *arg, bool is_added, const struct rpc_listener *l)
{
	struct seen *seen = arg;

	seen->n_added += is_added;
	seen->n_removed += !is_added;
	seen->last = *l;
}

static void events_are_read_back_in_both_dialects(void **state)
{
	struct rpc_listener l[] = {
		{ false, { IPADDR_V4(127, 0, 0, 1), 80 } },
		{ true, { { { [15] = 1 } }, 53 } },
		{ true, { IPADDR_V6_ANY, 65535 } },
	};
	struct message_ports ports = { l, l + 1, 1, 2 };
	struct rpc_event event = { true, 32768, 60999 }, back;
	struct seen seen = { 0 };
	struct message_sink sink = { on_listener, &seen };
	struct message m;

	(void)state;
	assert_int_equal(message_event(&event, &ports, &m), 0);
	assert_int_equal(message_parse_event(body(&m), body_len(&m), &back, &sink), 0);
	free(m.data);
	assert_true(back.is_all);
	assert_int_equal(back.ephemeral_first, 32768);
	assert_int_equal(back.ephemeral_last, 60999);
	assert_int_equal(message_guest_event(&ports, &m), 0);
	assert_int_equal(message_parse_guest_event(body(&m), body_len(&m), &sink), 0);
	free(m.data);
	assert_int_equal(seen.n_added, 2);
	assert_int_equal(seen.n_removed, 4);
	assert_true(endpoint_equal(&seen.last.guest, &l[0].guest)); /* removals come first */
}

struct port {
	const char *bytes;
	size_t len;
};

/* B22: what a guest may claim. */
static void listeners_that_cannot_be_are_refused(void **state)
{
	static const struct port all[] = {
#define PORT(text) { text, sizeof(text) - 1 }
		PORT("\x0a\x11\x0a\x03TCP\x12\x08"
		     "127.0.0."
		     "\x18\x50"),
		PORT("\x0a\x12\x0a\x03TCP\x12\x09"
		     "127.0.0.1"
		     "\x18\x50"),
		PORT("\x0a\x12\x0a\x03tcp\x12\x09"
		     "not-an-ip"
		     "\x18\x50"),
		PORT("\x0a\x10\x0a\x03tcp\x12\x09"
		     "127.0.0.1"),
		PORT("\x0a\x12\x0a\x03tcp\x12\x09"
		     "127.0.0.1"
		     "\x18\x00"),
		PORT("\x0a\x14\x0a\x03tcp\x12\x09"
		     "127.0.0.1"
		     "\x18\xf0\xa2\x04"),
		PORT("\x0a\x1b\x0a\x03tcp\x12\x09"
		     "127.0.0.1"
		     "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		PORT("\x0a\x12\x0a\x03tcp\x12\x09"
		     "127.0.0\x1b"
		     "1"
		     "\x18\x50"),
		PORT("\x0a\x12\x0a\x03"
		     "127\x12\x09"
		     "10.0.0.50"
		     "\x18\x50"), /* numbered anew */
		PORT("\x0a\x00"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct seen seen = { 0 };
		struct message_sink sink = { on_listener, &seen };

		print_message("  %zu\n", i);
		assert_int_equal(
			message_parse_guest_info((const uint8_t *)all[i].bytes, all[i].len, &sink),
			1);
		assert_int_equal(seen.n_added, 0);
	}
}

static void opening_of_lima_is_read_and_checked(void **state)
{
	static const struct port bad[] = {
		PORT(""),
		PORT("\x12\x03tcp"),
		PORT("\x12\x03tcp\x22\x09"
		     "127.0.0.1"),
		PORT("\x12\x03tcp\x22\x0b"
		     "127.0.0.1:0"),
		PORT("\x12\x03tcp\x22\x0f"
		     "127.0.0.1:65536"),
		PORT("\x12\x03tcp\x22\x0c"
		     "127.0.0.1:8x"),
		PORT("\x12\x03tcp\x22\x0c"
		     "127.0.0.1:+8"),
		PORT("\x12\x03tcp\x22\x0c"
		     "localhost:80"),
		PORT("\x12\x04icmp\x22\x0c"
		     "127.0.0.1:80"),
		PORT("\x12\x03tcp\x22\x01"
		     ":"),
		PORT("\x0a\xff\xff"),
	};
	static const struct port good[] = {
		PORT("\x12\x03tcp\x22\x0c"
		     "127.0.0.1:80"),
		PORT("\x12\x03udp\x22\x08"
		     "[::1]:80"),
		PORT("\x0a\x05"
		     "a\nb c"
		     "\x12\x03tcp\x1a\x01x\x22\x07"
		     "[::]:80"),
	};
	struct guest_open open;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(
			message_parse_guest_open((const uint8_t *)bad[i].bytes, bad[i].len, &open),
			-EPROTO);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(message_parse_guest_open((const uint8_t *)good[i].bytes,
							  good[i].len, &open),
				 0);
		assert_int_equal(open.guest.port, 80);
		assert_int_equal(open.is_udp, i == 1);
	}
	assert_string_equal(open.id, "a?b?c"); /* it goes into logs */
}

static void message_that_would_fill_the_memory_is_refused(void **state)
{
	size_t len = 4UL * 1024 * 1024;
	uint8_t *data = calloc(1, len);
	struct seen seen = { 0 };
	struct message_sink sink = { on_listener, &seen };

	(void)state;
	for (size_t i = 0; i < len; i += 2)
		data[i] = 0x0a; /* one empty port after the other */
	assert_int_equal(message_parse_guest_info(data, len, &sink), -EPROTO);
	assert_int_equal(seen.n_added, 0);
	free(data);
}

static void places_are_checked(void **state)
{
	char path[RPC_PATH_SIZE + 8] = "\x1a\x6c/";
	struct rpc_open at;
	struct message m;

	(void)state;
	memset(path + 3, 'x', RPC_PATH_SIZE - 1);
	assert_int_equal(message_parse_listen_at((uint8_t *)path, 2 + 108, &at), -EPROTO);
	path[1]--;
	assert_int_equal(message_parse_listen_at((uint8_t *)path, 2 + 107, &at), 0);
	assert_int_equal(strlen(at.place.path), 107);
	assert_int_equal(message_parse_listen_at((const uint8_t *)"\x1a\x01x", 3, &at), -EPROTO);
	assert_int_equal(message_parse_listen_at((const uint8_t *)"\x0a\x03xxx\x10\x01", 7, &at),
			 -EPROTO);
	assert_int_equal(message_parse_listen_at((const uint8_t *)"\x0a\x04xxxx", 6, &at), -EPROTO);

	/* a UNIX socket has no datagrams here */
	assert_int_equal(message_parse_listen_at((const uint8_t *)"\x1a\x02/x\x20\x01", 6, &at),
			 -EPROTO);

	at = (struct rpc_open){ .is_udp = true, .place.endpoint = { IPADDR_V4(127, 0, 0, 1), 53 } };
	assert_int_equal(message_listen_at(&at, &m), 0);
	at = (struct rpc_open){ 0 };
	assert_int_equal(
		message_parse_listen_at(m.data + GRPC_PREFIX_SIZE, m.len - GRPC_PREFIX_SIZE, &at),
		0);
	assert_true(at.is_udp);
	assert_int_equal(at.place.endpoint.port, 53);
	free(m.data);
}

static void clock_of_the_host_is_compared(void **state)
{
	int64_t drift;

	(void)state;
	/* host_time { seconds: 2, nanos: 5000000 } */
	assert_int_equal(
		message_parse_guest_time((const uint8_t *)"\x0a\x07\x08\x02\x10\xc0\x96\xb1\x02", 9,
					 2500, &drift),
		0);
	assert_int_equal(drift, 495);
	assert_int_equal(message_parse_guest_time((const uint8_t *)"", 0, 0, &drift), -EPROTO);
	assert_int_equal(
		message_parse_guest_time(
			(const uint8_t *)"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00", 12,
			0, &drift),
		-EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_guest_service_never_change),
		cmocka_unit_test(bytes_of_our_own_service_never_change),
		cmocka_unit_test(flow_messages_are_read_back),
		cmocka_unit_test(events_are_read_back_in_both_dialects),
		cmocka_unit_test(listeners_that_cannot_be_are_refused),
		cmocka_unit_test(opening_of_lima_is_read_and_checked),
		cmocka_unit_test(message_that_would_fill_the_memory_is_refused),
		cmocka_unit_test(places_are_checked),
		cmocka_unit_test(clock_of_the_host_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
