/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What became of a guest's vsock packets and connections. */
#include <stdint.h>

struct vsock_counters {
	uint64_t connections;			   /* in being */
	uint64_t opened;			   /* so far, by either side */
	uint64_t to_guest_packets, to_guest_bytes; /* bytes of payload */
	uint64_t from_guest_packets, from_guest_bytes;
	uint64_t too_many;	 /* refused, because there were so many */
	uint64_t bad_packets;	 /* shorter than they say, or of no known kind */
	uint64_t bad_addresses;	 /* of a CID that is not the guest's, or not ours */
	uint64_t over_credit;	 /* more than was allowed: the connection is reset */
	uint64_t resets_dropped; /* no room to tell that there is no such connection */
};
