/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The control socket: HTTP/1.1 and JSON over a UNIX socket of this user.
 *
 *   GET    /v1/version
 *   GET    /v1/status
 *   GET    /v1/events            the last events, a JSON object per line;
 *                                ?follow=1: and those to come, until the client goes
 *   POST   /v1/forwards          struct control_forward: expose
 *   DELETE /v1/forwards          struct control_forward: unexpose
 *   POST   /v1/guests/NAME/listeners   struct control_report
 *   POST   /v1/reload
 *
 * Answers are a JSON object; errors {"error":"..."}. What is done is the
 * program's business: struct control_ops. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/control_decode.h"

struct control;
struct control_status; /* being written */
struct loop;

struct control_guest {
	const char *name;
	const char *link;      /* "stream", "dgram", "vhost-user", "fd", "netns", "qemu" */
	const char *path;      /* of the link's socket or namespace; NULL: none */
	const char *addresses; /* "192.168.5.15 fd00:c0a8:5::15"; NULL: not known */
	const char *mac;       /* NULL: not known */
	uint64_t lease_until;  /* seconds of the wall clock; 0: none; UINT64_MAX: for ever */
	bool is_connected;
	uint64_t bytes_to_guest, bytes_to_host; /* of frames */
};

struct control_published {
	const char *guest_name;
	enum forward_proto proto;
	bool is_reverse;   /* the guest's side is listened on */
	const char *host;  /* address and port, or the path of a socket */
	const char *guest; /* likewise */
	const char *via;   /* what a connection made now would go through */
	const char *state; /* "forwarding", "waiting" or "failed" */
	const char *rule;  /* what asked for it: "3", "builtin", "option", "control" */
	const char *error; /* the last one; NULL: there was none */
	uint64_t connections, connections_total; /* open; since the start */
	uint64_t bytes_to_guest, bytes_to_host;
};

/* For the list_ functions below: one call per thing. */
void control_status_guest(struct control_status *s, const struct control_guest *guest);
void control_status_forward(struct control_status *s, const struct control_published *forward);
struct control_way {
	const char *guest_name; /* NULL: the only guest, or by address */
	const char *name, *state;
	const char *error; /* "" if there was none */
};
void control_status_way(struct control_status *s, const struct control_way *way);
void control_status_counter(struct control_status *s, const char *name, uint64_t value);

/* All of them are set. Those with an error write one line into it when they
 * return -errno, and have then changed nothing. The request's answer is
 * 400 for -EINVAL, 403 for -EPERM and -EACCES, 404 for -ENOENT, 409 for -EEXIST
 * and -EADDRINUSE, 501 for -EOPNOTSUPP, 507 for -ENOSPC, else 500. */
struct control_ops {
	void (*list_guests)(void *arg, struct control_status *s);
	void (*list_forwards)(void *arg, struct control_status *s);
	void (*list_ways)(void *arg, struct control_status *s);
	void (*list_counters)(void *arg, struct control_status *s);
	int (*expose)(void *arg, const struct control_forward *forward, char *error);
	/* -ENOENT: no such forward, or none that was exposed */
	int (*unexpose)(void *arg, const struct control_forward *forward, char *error);
	/* What the guest of that name listens on has changed; -ENOENT: no such guest */
	int (*report)(void *arg, const char *guest, const struct control_report *report,
		      char *error);
	int (*reload)(void *arg, char *error);
	void *arg;
};

/* Listens at path and, until control_free(), keeps the events of log_event().
 * 0, or -errno as of http_server_new(). */
int control_new(struct loop *loop, const char *path, const struct control_ops *ops,
		struct control **out);
/* Not to be called by an op. Accepts NULL. */
void control_free(struct control *control);
