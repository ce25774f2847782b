/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reverse forwards: sockets in the guest that listen for the host, each for as
 * long as its call lasts. A connection waits, under a number, until the host opens
 * a flow for it; so does a client that sends datagrams, guest_clients.h. */
#include <stdint.h>

struct guest_client;
struct http2_stream;
struct listens;
struct loop;

#define LISTENS_WAITING_MAX 128U /* of one socket; more wait in its backlog */
#define LISTENS_PATIENCE_MS 10000U

int listens_new(struct loop *loop, struct listens **out);
/* After the connections of the host. Accepts NULL. */
void listens_free(struct listens *l);

/* Answers a call. */
void listens_request(struct listens *l, struct http2_stream *s);
/* The descriptor of that connection, or -ENOENT. */
int listens_take(struct listens *l, uint64_t id);
/* The client that waits under that number, or NULL. */
struct guest_client *listens_client(struct listens *l, uint64_t id);
