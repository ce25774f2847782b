/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One thing that is to be reachable on the host: a port or a socket path, and
 * the listener of a guest behind it. Plain data, copied by whoever keeps it. */
#include <stdbool.h>
#include <sys/un.h>

#include "forwarder/forward_spec.h"
#include "netstack/addr.h"

#define PUBLICATION_NAME_SIZE 64
#define PUBLICATION_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

struct publication {
	enum forward_proto proto;
	struct endpoint host;			 /* or */
	char host_socket[PUBLICATION_PATH_SIZE]; /* "" if not; TCP only */
	bool has_also;				 /* ::1 too, at the same port, when it can be had */
	struct endpoint guest;			 /* as reported: 0.0.0.0 and 127.0.0.1 too; or */
	char guest_socket[PUBLICATION_PATH_SIZE]; /* "" if not; TCP only */
	char guest_name[PUBLICATION_NAME_SIZE];	  /* "" with only one guest */
	bool is_static;
	bool keeps_port; /* is not moved to the next free one */
	/* The publisher hands these on, to dial() and to the status: */
	int via;		 /* enum rule_via */
	int rule_origin;	 /* enum rule_origin */
	unsigned int rule_index; /* among those of its origin */
};

struct way_request;

/* What is asked of the ways for a connection to its guest end; borrows its path. */
struct way_request publication_request(const struct publication *publication);

/* Being made, to be handed to the publisher as a whole. */
struct publication_list {
	struct publication *items; /* room for max of them */
	unsigned int n, max;
	unsigned int n_left_out;
};
/* 0 or -ENOMEM. */
int publication_list_init(struct publication_list *list, unsigned int max);
void publication_list_deinit(struct publication_list *list);
void publication_list_add(struct publication_list *list, const struct publication *item);
