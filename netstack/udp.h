/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* UDP flows from the gateway's address to guests, by a hash over the guest's
 * endpoint and our port. Sending and cutting is egress.c. */
#include <stdbool.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/frame.h"
#include "netstack/packet.h"
#include "netstack/udp_flow.h"

struct egress;
struct udp_table;

int udp_table_new(struct egress *egress, struct udp_table **out);
/* The owners have freed their flows. Accepts NULL. */
void udp_table_free(struct udp_table *table);
/* See stack_udp_open(). */
int udp_table_open(struct udp_table *table, const struct endpoint *guest,
		   const struct udp_flow_owner *owner, void *arg, struct udp_flow **out);
/* A checked datagram of a guest. False if it belongs to no flow. */
bool udp_table_receive(struct udp_table *table, const struct frame *frame,
		       const struct packet *packet);
/* A guest's ICMP error. False if it is about no flow. */
bool udp_table_error(struct udp_table *table, const struct frame *frame,
		     const struct packet *packet);
