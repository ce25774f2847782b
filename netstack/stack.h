/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The network of the guests, as a host program sees it: attach links, dial
 * guests. Frames come in from links, streams come out; the rest (addresses by
 * DHCP and RA, names, guests reaching the world) the stack does by itself.
 *
 * All on the loop thread. One stack per process: lwIP keeps its state in
 * globals, and stack_new() says -EBUSY to a second one. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/guests.h" /* struct guest_entry */
#include "netstack/stack_config.h"
#include "netstack/udp_flow.h"

struct link;
struct loop;
struct stack;
struct stream;

/* Lima's: 192.168.5.0/24, guest .15, gateway .2, DNS .3. */
struct stack_config stack_config_default(void);

/* 0; -EBUSY; -EINVAL for addresses outside their networks or a bad MTU. */
int stack_new(struct loop *loop, const struct stack_config *config, struct stack **out);
void stack_free(struct stack *stack); /* frees the links too; accepts NULL */

/* Takes the link; it stays until stack_free(), over any number of guests that
 * come and go on it. */
int stack_attach(struct stack *stack, struct link *link);

/* The same for the host's own kernel (a TAP interface of the host, whose address
 * is stack_config.shared.host4), and for an interface that leads to more
 * stations. */
int stack_attach_host(struct stack *stack, struct link *link);
int stack_attach_uplink(struct stack *stack, struct link *link);

/* Addresses for a guest that is configured by us instead of asking by DHCP; the
 * same at every time for the same MAC, if leases are kept. name: one label, or
 * "". -ENOSPC when all are taken. */
int stack_assign(struct stack *stack, const struct mac *mac, const char *name, struct ipaddr *addr4,
		 struct ipaddr *addr6);

/* Every guest that has a lease or is connected; the link is NULL while it is
 * not. */
typedef void stack_guest_fn(void *arg, const struct guest_entry *guest, const struct link *link);
void stack_guests(const struct stack *stack, stack_guest_fn *fn, void *arg);

/* Called when a guest has got a lease by DHCP, or another name. One user; NULL:
 * none. */
void stack_on_guests(struct stack *stack, void (*changed)(void *arg), void *arg);

/* Writes every frame from and to guests into a pcap file. -errno of open(2). */
int stack_capture(struct stack *stack, const char *path);

/* Starts a TCP connection to a guest, from the gateway's address. The stream
 * is the caller's at once; read and write say -EAGAIN until it is connected,
 * then -ECONNREFUSED, -ETIMEDOUT or -ECONNRESET if it failed. */
int stack_dial_tcp(struct stack *stack, const struct endpoint *guest, struct stream **out);

/* A UDP flow from the gateway's address, on a port of its own, to one guest
 * endpoint. */
int stack_udp_open(struct stack *stack, const struct endpoint *guest,
		   const struct udp_flow_owner *owner, void *arg, struct udp_flow **out);

/* What passes between guests and the host, all links together. */
struct stack_traffic {
	bool is_connected;			/* a guest is, on any link */
	uint64_t to_guest_bytes, to_host_bytes; /* of frames, since the start */
};
struct stack_traffic stack_traffic(const struct stack *stack);

/* All counters that are not zero, one per call, links' first. */
typedef void stack_counter_fn(void *arg, const char *name, uint64_t value);
void stack_counters(struct stack *stack, stack_counter_fn *fn, void *arg);
