/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a network namespace listens on at this moment, as sock_diag(7) tells it:
 * TCP sockets in LISTEN and UDP sockets without a peer. A UDP socket that gets a
 * peer while it is known (iperf3, QUIC servers) stays. Answers come during the
 * calls, which never wait. */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/port_listener.h"

struct port_scan;

#define PORT_SCAN_TCP 1U
#define PORT_SCAN_UDP 2U
#define PORT_SCAN_ALL (PORT_SCAN_TCP | PORT_SCAN_UDP)

#define PORT_SCAN_MAX 16384 /* more listeners are not reported, and said once */

struct port_scan_config {
	int fd; /* a sock_diag socket of the namespace; the scan's if that is made */
	struct port_range clients;  /* the ports that UDP clients get */
	unsigned int client_age_ms; /* of those sockets only older ones are reported */
};
#define PORT_SCAN_NO_CLIENTS UINT_MAX /* an age that none has */

/* 0 or -ENOMEM. */
int port_scan_new(const struct port_scan_config *config, struct port_scan **out);
void port_scan_free(struct port_scan *scan); /* accepts NULL */

/* Asks for some kinds of sockets; the others stay as they were. now_ms: of a clock
 * that does not jump. 1: there are
 * other listeners than before; 0: the same; -errno: nobody knows, so all stays
 * as it was. */
int port_scan_ask(struct port_scan *scan, unsigned int kinds, uint64_t now_ms);
void port_scan_set_client_age(struct port_scan *scan, unsigned int age_ms);
/* All of them, sorted, none twice; valid until the next question. */
const struct port_listener *port_scan_listeners(const struct port_scan *scan, unsigned int *n);
/* Whether it is the cookie of a socket that was found. */
bool port_scan_knows(const struct port_scan *scan, uint64_t cookie);
