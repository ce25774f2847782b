/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guests' resolver over TCP (RFC 7766): answers what its owner knows, and hands
 * every other query to the host's first resolver, whole and unread. A guest may ask
 * both on one connection, and before it has its answers.
 *
 * The resolver is connected to by the first query for it. It ends the guest's
 * connection when it ends its own. */
#include <stdbool.h>
#include <stdint.h>

struct dns_answer;
struct dns_question;
struct dns_tcp;
struct endpoint;
struct loop;
struct stream;

struct dns_tcp_config {
	/* As struct dns_relay_config has it. */
	bool (*know)(void *arg, const struct dns_question *question, struct dns_answer *answer);
	/* The host's resolver as of now. False if it has none. */
	bool (*resolver)(void *arg, struct endpoint *out);
	void *arg;
};

#define DNS_TCP_MAX 128U       /* connections; the one silent for longest makes room */
#define DNS_TCP_IDLE_MS 30000U /* after which one is ended */
#define DNS_TCP_MAX_QUERY 4096U

struct dns_tcp_counters {
	uint64_t bad_queries; /* not a DNS query with one question, or too long */
	uint64_t no_resolver; /* answered by SERVFAIL */
	uint64_t timed_out;   /* ended as idle */
	uint64_t evicted;     /* given up for newer ones */
};

/* -ENOMEM. */
int dns_tcp_new(struct loop *loop, const struct dns_tcp_config *config, struct dns_tcp **out);
void dns_tcp_free(struct dns_tcp *dns); /* ends all; accepts NULL */
/* Takes a guest's connection. */
void dns_tcp_serve(struct dns_tcp *dns, struct stream *guest);
const struct dns_tcp_counters *dns_tcp_counters(const struct dns_tcp *dns);
