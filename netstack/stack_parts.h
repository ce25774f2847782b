/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a stack is made of, for stack.c and stack_counters.c alone. */
#include <stdint.h>

#include "netstack/base/loop.h"
#include "netstack/packet.h"
#include "netstack/reassembly.h"
#include "netstack/stack_config.h"

struct stack {
	struct loop *loop;
	struct stack_config config;
	struct segment *segment;
	struct egress *egress;
	struct engine *engine;
	struct outbound *outbound;
	struct udp_table *udp;
	struct dns_relay *dns;
	struct dns_tcp *dns_tcp;
	struct guests *guests;
	struct slirp_gateway *slirp;
	struct reassembly reassembly;
	struct loop_hook flush;		   /* the last hook: what a round sent goes out */
	uint64_t refused[PACKET_N_ERRORS]; /* by enum packet_error */
	uint64_t other_mac;		   /* not for the host */
	uint64_t foreign_source;	   /* an address that is no guest's */
	uint64_t bad_destination;	   /* an address that is no host's */
};
