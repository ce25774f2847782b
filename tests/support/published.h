/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A publisher with a fake loop, and clients of what it publishes. Guests are
 * sockets: every connection is dialled to one listener of the fixture, whatever
 * the guest port. The event_ functions are in here and write down what they
 * get. For a network of the test's own, where every port is free. */
#include <stdbool.h>
#include <stdint.h>

#include "forwarder/publisher.h"

#define HOST_PORT 8080
#define GUEST_PORT 80

/* "forwarding tcp 127.0.0.1:8080 0.0.0.0:80\n..." */
extern char events[1 << 16];
extern char last_error[512];
/* And forgets them. */
void expect_events(const char *want);

struct fixture {
	struct loop *loop;
	struct publisher_config config;
	struct publisher *publisher;
	uint16_t guest_port; /* where the listener of the guest is */
	int guest;
	struct publication dialled; /* the last one */
	unsigned int n_dialled;
	int failing_via; /* dials through it fail */
};

int publisher_setup(void **state);
int publisher_teardown(void **state);
/* In place of the publisher that setup() made and the test has freed. */
void publisher_start(struct fixture *t, bool next_free_port);

struct ipaddr address(const char *text);
/* Guest port 80 at the guest's address, to port 8080 of 127.0.0.1. */
struct publication web(const char *guest_address);
void publish_all(struct fixture *t, const char *source, const struct publication *items,
		 unsigned int n);
void publish(struct fixture *t, struct publication p);
void withdraw(struct fixture *t);

int connect_socket(int fd, const struct endpoint *to);
/* A connection, or -errno. */
int connect_at(const char *host, uint16_t port);
int connect_to(uint16_t port);
void expect_refused(uint16_t port);

/* A client and its end at the guest. */
struct pair {
	int client, guest;
};
void expect_flow(struct fixture *t, const struct pair *p);
/* Takes the client. */
struct pair join(struct fixture *t, int client);
void pair_close(struct fixture *t, const struct pair *p);
void expect_served(struct fixture *t, uint16_t port);
/* Somebody else's listener. */
int occupy(const char *host, uint16_t port);

struct listing {
	unsigned int n;
	struct publication_status all[8];
};
struct listing list_all(struct fixture *t);
