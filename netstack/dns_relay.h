/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guests' resolver: answers what its owner knows (the host's own names, those
 * of guests), hands every other query over UDP to the host's first
 * resolver, whole and unread, whatever its type. Over TCP dns_tcp.h does the same. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

struct dns_answer;
struct dns_question;
struct dns_relay;
struct loop;

struct dns_relay_config {
	const char *resolv_conf; /* path; read again at each query */
	/* Fills in the answer if the question is ours to answer. */
	bool (*know)(void *arg, const struct dns_question *question, struct dns_answer *answer);
	/* A reply for a guest, to be sent from the resolver's address `server`. */
	void (*reply)(void *arg, const struct endpoint *server, const struct endpoint *guest,
		      const void *message, size_t len);
	void *arg;
};

struct dns_relay_counters {
	uint64_t bad_queries; /* not a DNS query with one question */
	uint64_t no_resolver; /* answered by SERVFAIL */
	uint64_t timed_out;   /* the resolver did not answer */
	uint64_t evicted;     /* given up for newer ones */
};

int dns_relay_new(struct loop *loop, const struct dns_relay_config *config, struct dns_relay **out);
void dns_relay_free(struct dns_relay *relay); /* accepts NULL */
/* A guest's query to `server`. */
void dns_relay_query(struct dns_relay *relay, const struct endpoint *guest,
		     const struct endpoint *server, const uint8_t *message, size_t len);
/* The host's resolver as of now. False if it has none. */
bool dns_relay_resolver(const struct dns_relay *relay, struct endpoint *out);
const struct dns_relay_counters *dns_relay_counters(const struct dns_relay *relay);
