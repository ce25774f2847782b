/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/sock_diag.h"

#include <assert.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* States of net/tcp_states.h; UDP has two of them. */
#define STATE_ESTABLISHED 1
#define STATE_CLOSE 7
#define STATE_LISTEN 10

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

static_assert(sizeof(struct request) == SOCK_DIAG_REQUEST_SIZE, "no padding");

void sock_diag_request(enum forward_proto proto, bool is_v6, uint32_t seq,
		       uint8_t out[static SOCK_DIAG_REQUEST_SIZE])
{
	const struct request request = {
		.header = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			.nlmsg_seq = seq,
		},
		.body = {
			.sdiag_family = is_v6 ? AF_INET6 : AF_INET,
			.sdiag_protocol = proto == FORWARD_TCP ? IPPROTO_TCP : IPPROTO_UDP,
			.idiag_states = proto == FORWARD_TCP ?
				1U << STATE_LISTEN :
				1U << STATE_CLOSE | 1U << STATE_ESTABLISHED,
		},
	};

	memcpy(out, &request, sizeof(request));
}

static uint64_t cookie_of(const struct inet_diag_msg *m)
{
	return (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
}

/* Whether it is one with a port. The answer says TCP or UDP by its state:
 * only TCP's listen. */
static bool read_socket(const struct inet_diag_msg *m, struct sock_diag_socket *out)
{
	const uint8_t *source = (const uint8_t *)m->id.idiag_src;

	if (m->idiag_state != STATE_LISTEN && m->idiag_state != STATE_CLOSE &&
	    m->idiag_state != STATE_ESTABLISHED)
		return false;
	if (m->idiag_family == AF_INET)
		out->local.addr = ipaddr_from_v4(source);
	else if (m->idiag_family == AF_INET6)
		out->local.addr = ipaddr_from_v6(source);
	else
		return false;
	out->proto = m->idiag_state == STATE_LISTEN ? FORWARD_TCP : FORWARD_UDP;
	out->local.port = ntohs(m->id.idiag_sport);
	out->is_connected = m->idiag_state == STATE_ESTABLISHED;
	out->cookie = cookie_of(m);
	return out->local.port != 0;
}

/* The message at *at, whole, or NULL: at the end, or when what is left is
 * none. */
static const struct nlmsghdr *next_message(const uint8_t **at, size_t *left)
{
	const struct nlmsghdr *m = (const void *)*at;
	size_t step;

	if (*left < sizeof(*m) || m->nlmsg_len < sizeof(*m) || m->nlmsg_len > *left)
		return NULL;
	step = NLMSG_ALIGN(m->nlmsg_len);
	if (step > *left)
		step = *left;
	*at += step;
	*left -= step;
	return m;
}

static const void *body_of(const struct nlmsghdr *m, size_t size)
{
	return m->nlmsg_len < NLMSG_HDRLEN + size ? NULL : (const uint8_t *)m + NLMSG_HDRLEN;
}

/* 1 at the end, 0 to go on, -errno. */
static int parse_message(const struct nlmsghdr *m, sock_diag_fn *fn, void *arg)
{
	struct sock_diag_socket socket;
	const void *body;

	if (m->nlmsg_flags & NLM_F_DUMP_INTR)
		return -EINTR;
	if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) {
		int error = 0;

		body = body_of(m, sizeof(error));
		if (body)
			memcpy(&error, body, sizeof(error));
		if (m->nlmsg_type == NLMSG_ERROR && error >= 0)
			return -EPROTO; /* no acknowledgement was asked for */
		return error < 0 && error > -4096 ? error : error < 0 ? -EPROTO : 1;
	}
	if (m->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return 0;
	body = body_of(m, sizeof(struct inet_diag_msg));
	if (!body)
		return -EPROTO;
	if (read_socket(body, &socket))
		fn(arg, &socket);
	return 0;
}

int sock_diag_parse(const void *data, size_t len, uint32_t seq, sock_diag_fn *fn, void *arg)
{
	const struct nlmsghdr *m;
	const uint8_t *at = data;

	while ((m = next_message(&at, &len))) {
		int r = m->nlmsg_seq == seq ? parse_message(m, fn, arg) : 0;

		if (r != 0)
			return r;
	}
	return len == 0 ? 0 : -EPROTO;
}

int sock_diag_parse_gone(const void *data, size_t len, sock_diag_gone_fn *fn, void *arg)
{
	const struct nlmsghdr *m;
	const uint8_t *at = data;

	while ((m = next_message(&at, &len))) {
		const struct inet_diag_msg *body;

		if (m->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			continue;
		body = body_of(m, sizeof(*body));
		if (!body)
			return -EPROTO;
		fn(arg, cookie_of(body));
	}
	return len == 0 ? 0 : -EPROTO;
}
