/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/link_probe.h"

#include <stdlib.h>
#include <string.h>

#include "netstack/base/bytes.h"

static void on_receive(void *arg, struct frame *frame)
{
	struct link_probe *probe = arg;

	if (probe->is_in_send || !probe->is_up)
		abort();
	probe->last_len = frame_copy(frame, 0, probe->last, sizeof(probe->last));
	if (!is_numbered_frame(probe->last, probe->last_len, probe->n_frames))
		probe->n_bad++;
	probe->n_frames++;
	if (probe->on_frame)
		probe->on_frame(probe, frame);
}

static void on_batch_done(void *arg)
{
	struct link_probe *probe = arg;

	probe->n_batches++;
}

static void on_writable(void *arg)
{
	struct link_probe *probe = arg;

	if (probe->is_in_send)
		abort();
	probe->n_writable++;
}

static void on_state(void *arg, bool is_up)
{
	struct link_probe *probe = arg;

	if (probe->is_in_send || probe->is_up == is_up)
		abort();
	probe->is_up = is_up;
	if (is_up)
		probe->n_ups++;
	else
		probe->n_downs++;
}

static const struct link_owner owner = {
	.receive = on_receive,
	.batch_done = on_batch_done,
	.writable = on_writable,
	.state = on_state,
};

void link_probe_attach(struct link_probe *probe, struct link *link)
{
	memset(probe, 0, sizeof(*probe));
	probe->link = link;
	link_set_owner(link, &owner, probe);
}

int link_probe_send(struct link_probe *probe, const void *data, size_t len)
{
	size_t headers = len < 66 ? len : 66;
	struct frame frame;
	int r;

	frame_init(&frame);
	frame_add(&frame, data, headers);
	if (len > headers)
		frame_add(&frame, (const uint8_t *)data + headers, len - headers);
	probe->is_in_send = true;
	r = link_send(probe->link, &frame);
	probe->is_in_send = false;
	return r;
}

void numbered_frame(uint8_t *at, size_t len, unsigned int number)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	uint32_t x = number * 2654435761U + 1;

	memcpy(at, macs, sizeof(macs));
	put_be16(at + 12, 0x88b5); /* for experiments */
	for (size_t i = ETH_HEADER_SIZE; i < len; i++) {
		x = x * 1664525 + 1013904223;
		at[i] = (uint8_t)(x >> 24);
	}
}

bool is_numbered_frame(const uint8_t *at, size_t len, unsigned int number)
{
	static uint8_t expected[FRAME_MAX_SIZE];

	if (len < ETH_HEADER_SIZE || len > sizeof(expected))
		return false;
	numbered_frame(expected, len, number);
	return memcmp(at, expected, len) == 0;
}
