/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A segment with guests' NICs in memory, and a host port that counts. */
#include <stddef.h>
#include <stdint.h>

#include "netstack/addr.h"
#include "netstack/segment.h"
#include "tests/support/fake_link.h"

#define SEGMENT_FIXTURE_LINKS 3U

struct segment_fixture {
	struct loop *loop;
	struct segment *segment;
	struct fake_link links[SEGMENT_FIXTURE_LINKS];
	unsigned int n_links;
	/* what the host port was told */
	unsigned int n_received, n_batches, n_writable;
	struct mac last_source;
};

int segment_fixture_setup(void **state);
int segment_fixture_teardown(void **state);
/* A link that is up. */
struct fake_link *segment_fixture_add(struct segment_fixture *f, const struct link_caps *caps,
				      enum segment_role role);
struct fake_link *segment_fixture_add_guest(struct segment_fixture *f,
					    const struct link_caps *caps);
void segment_fixture_add_guests(struct segment_fixture *f, unsigned int n);

struct mac segment_station(unsigned int number);
/* A datagram between stations; returns its length, less than 100. */
size_t segment_frame(uint8_t *at, const struct mac *dst, const struct mac *src);
/* One from a link, by a station of that number. */
void segment_fixture_receive(struct segment_fixture *f, unsigned int link, unsigned int from,
			     const struct mac *dst);
/* One from the host port. */
int segment_fixture_send(struct segment_fixture *f, const struct mac *dst);
/* How many frames each link got since the last call. */
void segment_fixture_assert_sent(struct segment_fixture *f, unsigned int a, unsigned int b,
				 unsigned int c);
