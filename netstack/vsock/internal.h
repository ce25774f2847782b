/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by device.c, which has the queues and finds the connection that a packet
 * belongs to, and connection.c, one connection as a stream. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netstack/base/list.h"
#include "netstack/base/loop.h"
#include "netstack/byte_queue.h"
#include "netstack/stream.h"
#include "netstack/vhost_user/server.h"
#include "netstack/vsock/counters.h"
#include "netstack/vsock/packet.h"
#include "netstack/vsock/vsock.h"

#define VSOCK_BUCKETS 256U
#define VSOCK_MAX_CONNECTIONS 8192U
#define VSOCK_MAX_RESETS 64U
/* Room for what a guest sends and nobody has read yet, of each connection. */
#define VSOCK_BUFFER_SIZE (1U << 20)
/* Chains of the guest's that one reserve() may hold. */
#define VSOCK_MAX_RESERVED 64U
#define VSOCK_MAX_PIECES 8U /* of a buffer for one packet */

enum { VSOCK_QUEUE_TO_GUEST, VSOCK_QUEUE_FROM_GUEST, VSOCK_QUEUE_EVENT, VSOCK_N_QUEUES };

/* A buffer of the guest's for one packet. */
struct vsock_room {
	struct virtqueue_chain chain;
	struct iovec iov[VSOCK_MAX_PIECES];
};

struct vsock_device {
	struct vsock base;
	struct loop *loop;
	char name[64];
	struct vhost_server *server;
	struct vhost_backend *backend;
	uint32_t guest_cid;
	uint8_t config[8];
	bool is_running;
	struct loop_deferred drain, flush, serve, lost, retry;
	struct timer *tick;

	struct list listeners;		    /* vsock_listener.node */
	struct list buckets[VSOCK_BUCKETS]; /* vsock_conn.in_table */
	uint32_t next_port;
	struct list blocked;	    /* vsock_conn.blocked: wait for a kick of the guest's */
	struct list news;	    /* vsock_conn.news: owners to be called */
	struct vsock_conn *serving; /* whose owner is being called; NULL if it went */
	struct vsock_call resets[VSOCK_MAX_RESETS]; /* of no connection, to be sent */
	unsigned int n_resets;

	unsigned int n_reserved; /* between reserve() and commit(): nobody else takes */
	struct vsock_room reserved[VSOCK_MAX_RESERVED];
	struct iovec iov[VIRTQUEUE_MAX_SIZE]; /* of the packet in hand */
	struct vsock_counters counters;
};

/* Packets that a connection has to send, in this order. */
#define PENDING_REQUEST 1U
#define PENDING_RESPONSE 2U
#define PENDING_CREDIT 4U
#define PENDING_SHUTDOWN 8U
#define PENDING_RST 16U

enum vsock_state {
	VSOCK_CONNECTING,
	VSOCK_OPEN,
	VSOCK_CLOSING, /* its owner has let go */
	VSOCK_DEAD,    /* its owner has not, but there is no connection any more */
};

struct vsock_conn {
	struct stream base;
	struct vsock_device *device;
	struct list in_table, blocked, news;
	struct vsock_call ports;
	enum vsock_state state;
	unsigned int pending; /* PENDING_* */
	unsigned int wanted;  /* STREAM_* */
	uint32_t shutdown;    /* VSOCK_SHUTDOWN_*, ours */
	uint32_t peer_shutdown;
	uint64_t deadline_ms; /* for its guest to answer; 0: none */

	/* from the guest: what waits in rx, and then what is in the guest's memory */
	struct byte_queue rx;
	const struct iovec *direct;
	unsigned int n_direct;
	size_t direct_skip, direct_len; /* bytes of direct: read, and still to be read */
	uint32_t fwd_cnt, told_fwd_cnt;
	/* to the guest */
	uint32_t tx_cnt, peer_fwd_cnt, peer_buf_alloc;
};

/* device.c */

/* Takes a buffer of the guest's: 1; 0 when there is none (who waits goes to
 * device.blocked); -ENETDOWN. */
int vsock_device_take_room(struct vsock_device *d, struct vsock_room *room);
/* Gives it back with a packet in it: the header, and len bytes that are there. */
void vsock_device_give(struct vsock_device *d, const struct vsock_room *room,
		       const struct vsock_header *header);
void vsock_device_unroom(struct vsock_device *d, unsigned int n); /* the last n, unused */
/* Tells the guest that there is no such connection. */
void vsock_device_refuse(struct vsock_device *d, const struct vsock_call *ports);
/* Calls the owner later. */
void vsock_device_has_news(struct vsock_conn *c);
void vsock_device_need_tick(struct vsock_device *d);

/* connection.c */

/* In the table, with nothing to be sent yet. NULL when memory is out. */
struct vsock_conn *vsock_conn_new(struct vsock_device *d, const struct vsock_call *ports,
				  enum vsock_state state);
void vsock_conn_free(struct vsock_conn *c);
/* Sends what is pending, now or as soon as the guest has room. The connection may
 * be gone afterwards, if its owner has let go: false. */
bool vsock_conn_send(struct vsock_conn *c, unsigned int pending);
/* A packet of the guest's, in iov: as it was read into *h, then the payload. */
void vsock_conn_receive(struct vsock_conn *c, const struct vsock_header *h, const struct iovec *iov,
			unsigned int n);
/* The guest's device is gone, or its answer is overdue. */
void vsock_conn_fail(struct vsock_conn *c, int error);
/* The guest has room again. */
void vsock_conn_unblocked(struct vsock_conn *c);
