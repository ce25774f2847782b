/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A UDP socket in the guest that listens for the host (Listen in agent.proto). Each
 * client that sends to it is announced under a number, and what it sends waits, within
 * bounds, until the host opens a flow for it. That lives as long as the host and
 * udp_forward.h let it; a client that has lost its flow is announced again by its next
 * datagram. */
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"

struct guest_client;
struct guest_clients;
struct http2_stream;
struct loop;
struct stream;
struct udp_hub;

#define GUEST_CLIENTS_WAITING_MAX 128U /* more: the one that waits longest is dropped */
#define GUEST_CLIENTS_PATIENCE_MS 10000U
#define GUEST_CLIENT_QUEUE (128UL * 1024) /* that waits; more is dropped */

/* Tells the host of a client. 0 and its number, from 1, or -errno: not now. */
struct guest_clients_owner {
	int (*announce)(void *arg, uint64_t *id);
	void *arg;
};

/* 0, -ENOMEM, or -errno of binding. */
int guest_clients_new(struct loop *loop, struct udp_hub *hub, const struct endpoint *at,
		      const struct guest_clients_owner *owner, struct guest_clients **out);
void guest_clients_free(struct guest_clients *all); /* with its flows; accepts NULL */

/* The one that waits under that number, or NULL. */
struct guest_client *guest_clients_find(struct guest_clients *all, uint64_t id);
/* The host's flow for it: a call, 0 or -errno after that was answered, or a raw one.
 * It does not wait any more. */
int guest_client_call(struct guest_client *client, struct http2_stream *call);
/* What came of the call before it was taken. */
void guest_client_feed(struct guest_client *client, const uint8_t *data, size_t len);
int guest_client_raw(struct guest_client *client, struct stream *host); /* or -ENOMEM, reset */
