/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Requests and answers of sock_diag(7) (linux/inet_diag.h), as bytes. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

struct sock_diag_socket {
	enum forward_proto proto;
	struct endpoint local; /* v4-mapped is IPv4 */
	bool is_connected;     /* UDP with a peer */
	uint64_t cookie;       /* never used twice */
};

#define SOCK_DIAG_REQUEST_SIZE 72

/* Asks for all TCP sockets that listen, or all UDP sockets, of one address
 * family. Answers carry `seq`. */
void sock_diag_request(enum forward_proto proto, bool is_v6, uint32_t seq,
		       uint8_t out[static SOCK_DIAG_REQUEST_SIZE]);

/* One buffer that was received, aligned as by malloc(): fn gets every socket
 * with a port, of answers to `seq`. 1: that was the last; 0: more are to come;
 * -errno as the kernel said; -EINTR: it changed meanwhile and may be
 * incomplete; -EPROTO: not what the kernel sends. */
typedef void sock_diag_fn(void *arg, const struct sock_diag_socket *socket);
int sock_diag_parse(const void *data, size_t len, uint32_t seq, sock_diag_fn *fn, void *arg);

/* What the kernel sends to SKNLGRP_INET*_DESTROY: the cookies of sockets that
 * are gone. 0 or -EPROTO. */
typedef void sock_diag_gone_fn(void *arg, uint64_t cookie);
int sock_diag_parse_gone(const void *data, size_t len, sock_diag_gone_fn *fn, void *arg);
