/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/sock_diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define SEQ 7
#define LISTEN 10
#define CLOSE 7
#define ESTABLISHED 1

/* What is received, being written. */
struct buffer {
	union {
		struct nlmsghdr align;
		uint8_t bytes[2048];
	};
	size_t len;
};

static struct nlmsghdr *add(struct buffer *b, uint16_t type, const void *body, size_t size)
{
	struct nlmsghdr *m = (void *)(b->bytes + b->len);

	*m = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size),
		.nlmsg_type = type,
		.nlmsg_seq = SEQ,
	};
	memcpy(b->bytes + b->len + NLMSG_HDRLEN, body, size);
	b->len += NLMSG_ALIGN(NLMSG_HDRLEN + size);
	return m;
}

static struct nlmsghdr *add_socket(struct buffer *b, uint8_t state, const char *address,
				   uint16_t port)
{
	struct inet_diag_msg m = { .idiag_state = state, .id = { .idiag_sport = htons(port) } };
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(address, &a), 0);
	m.idiag_family = strchr(address, ':') ? AF_INET6 : AF_INET;
	if (m.idiag_family == AF_INET)
		memcpy(m.id.idiag_src, ipaddr_v4_bytes(&a), 4);
	else
		memcpy(m.id.idiag_src, a.b, 16);
	m.id.idiag_cookie[0] = port;
	m.id.idiag_cookie[1] = 1;
	return add(b, SOCK_DIAG_BY_FAMILY, &m, sizeof(m));
}

static struct nlmsghdr *add_result(struct buffer *b, uint16_t type, int error)
{
	return add(b, type, &error, sizeof(error));
}

struct seen {
	struct sock_diag_socket all[8];
	unsigned int n;
};

static void on_socket(void *arg, const struct sock_diag_socket *socket)
{
	struct seen *seen = arg;

	assert_true(seen->n < 8);
	seen->all[seen->n++] = *socket;
}

static int parse(const struct buffer *b, struct seen *seen)
{
	seen->n = 0;
	return sock_diag_parse(b->bytes, b->len, SEQ, on_socket, seen);
}

static void check_socket(const struct sock_diag_socket *s, enum forward_proto proto,
			 const char *text)
{
	char got[ADDR_TEXT_SIZE];

	assert_int_equal(s->proto, proto);
	assert_string_equal(endpoint_format(&s->local, got), text);
	assert_true(s->cookie == (1ULL << 32 | s->local.port));
}

static void sockets_of_all_kinds_are_read(void **state)
{
	struct buffer b = { .len = 0 };
	struct seen seen;

	(void)state;
	add_socket(&b, LISTEN, "127.0.0.1", 80);
	add_socket(&b, LISTEN, "::1", 81);
	add_socket(&b, LISTEN, "::ffff:1.2.3.4", 82);
	add_socket(&b, CLOSE, "::", 53);
	add_socket(&b, ESTABLISHED, "0.0.0.0", 54);
	assert_int_equal(parse(&b, &seen), 0);
	assert_int_equal(seen.n, 5);
	check_socket(&seen.all[0], FORWARD_TCP, "127.0.0.1:80");
	check_socket(&seen.all[1], FORWARD_TCP, "[::1]:81");
	check_socket(&seen.all[2], FORWARD_TCP, "1.2.3.4:82");
	check_socket(&seen.all[3], FORWARD_UDP, "[::]:53");
	check_socket(&seen.all[4], FORWARD_UDP, "0.0.0.0:54");
	assert_false(seen.all[3].is_connected);
	assert_true(seen.all[4].is_connected);

	add_result(&b, NLMSG_DONE, 0);
	assert_int_equal(parse(&b, &seen), 1);
	assert_int_equal(seen.n, 5);
}

static void what_is_no_listener_is_left_out(void **state)
{
	struct buffer b = { .len = 0 };
	struct seen seen;

	(void)state;
	add_socket(&b, LISTEN, "127.0.0.1", 0);
	add_socket(&b, 2, "127.0.0.1", 80); /* SYN_SENT */
	add_socket(&b, LISTEN, "127.0.0.1", 81)->nlmsg_seq = SEQ + 1;
	add_socket(&b, LISTEN, "127.0.0.1", 82)->nlmsg_type = SOCK_DIAG_BY_FAMILY + 1;
	add(&b, NLMSG_NOOP, "", 0);
	assert_int_equal(parse(&b, &seen), 0);
	assert_int_equal(seen.n, 0);
}

static void failures_are_errors_and_never_an_end(void **state)
{
	struct seen seen;
	struct buffer b;

	(void)state;
	b.len = 0;
	add_result(&b, NLMSG_ERROR, -ENOENT);
	assert_int_equal(parse(&b, &seen), -ENOENT);
	b.len = 0;
	add_result(&b, NLMSG_DONE, -EBUSY);
	assert_int_equal(parse(&b, &seen), -EBUSY);
	b.len = 0;
	add_result(&b, NLMSG_ERROR, 0);
	assert_int_equal(parse(&b, &seen), -EPROTO);
	b.len = 0;
	add_result(&b, NLMSG_ERROR, INT32_MIN);
	assert_int_equal(parse(&b, &seen), -EPROTO);
	b.len = 0;
	add_result(&b, NLMSG_DONE, 0)->nlmsg_flags = NLM_F_DUMP_INTR;
	assert_int_equal(parse(&b, &seen), -EINTR);
}

static void what_is_cut_off_is_an_error(void **state)
{
	struct buffer b = { .len = 0 };
	struct seen seen;
	size_t whole;

	(void)state;
	add_socket(&b, LISTEN, "127.0.0.1", 80);
	whole = b.len;
	for (b.len = 1; b.len < whole; b.len++) {
		assert_int_equal(parse(&b, &seen), -EPROTO);
		assert_int_equal(seen.n, 0);
	}
	b.len = 0;
	add_socket(&b, LISTEN, "127.0.0.1", 80)->nlmsg_len = NLMSG_HDRLEN - 1;
	assert_int_equal(parse(&b, &seen), -EPROTO);
	b.len = 0;
	add_socket(&b, LISTEN, "127.0.0.1", 80)->nlmsg_len -= 4;
	assert_int_equal(parse(&b, &seen), -EPROTO);
}

static void on_gone(void *arg, uint64_t cookie)
{
	uint64_t *last = arg;

	*last = cookie;
}

static void the_cookie_of_a_socket_that_is_gone_is_read(void **state)
{
	struct buffer b = { .len = 0 };
	uint64_t cookie = 0;

	(void)state;
	add_socket(&b, CLOSE, "127.0.0.1", 80)->nlmsg_seq = 0;
	assert_int_equal(sock_diag_parse_gone(b.bytes, b.len, on_gone, &cookie), 0);
	assert_true(cookie == (1ULL << 32 | 80));
	assert_int_equal(sock_diag_parse_gone(b.bytes, b.len - 4, on_gone, &cookie), -EPROTO);
}

static void a_request_asks_for_what_it_should(void **state)
{
	uint8_t bytes[SOCK_DIAG_REQUEST_SIZE];
	struct inet_diag_req_v2 body;
	struct nlmsghdr header;

	(void)state;
	sock_diag_request(FORWARD_TCP, true, SEQ, bytes);
	memcpy(&header, bytes, sizeof(header));
	memcpy(&body, bytes + sizeof(header), sizeof(body));
	assert_int_equal(header.nlmsg_len, sizeof(bytes));
	assert_int_equal(header.nlmsg_seq, SEQ);
	assert_int_equal(body.sdiag_family, AF_INET6);
	assert_int_equal(body.sdiag_protocol, IPPROTO_TCP);
	assert_int_equal(body.idiag_states, 1 << LISTEN);
	sock_diag_request(FORWARD_UDP, false, SEQ, bytes);
	memcpy(&body, bytes + sizeof(header), sizeof(body));
	assert_int_equal(body.sdiag_family, AF_INET);
	assert_int_equal(body.sdiag_protocol, IPPROTO_UDP);
	assert_int_equal(body.idiag_states, 1 << CLOSE | 1 << ESTABLISHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_of_all_kinds_are_read),
		cmocka_unit_test(what_is_no_listener_is_left_out),
		cmocka_unit_test(failures_are_errors_and_never_an_end),
		cmocka_unit_test(what_is_cut_off_is_an_error),
		cmocka_unit_test(the_cookie_of_a_socket_that_is_gone_is_read),
		cmocka_unit_test(a_request_asks_for_what_it_should),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
