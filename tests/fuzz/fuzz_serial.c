/* SPDX-License-Identifier: Apache-2.0 */
/* A serial line on which hosts come and go, each stopping where the input says,
 * also in the middle of a frame. A guest that goes on reading must get what the
 * present host sent it, whole and in order, and nothing else. The line is cut into
 * reads as the input says. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/rpc/serial_session.h"
#include "tests/fuzz/cursor.h"

#define PAYLOAD 40 /* of each frame: the session's number, the frame's, and filling */
#define LINE_SIZE (1U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct line {
	uint8_t bytes[LINE_SIZE];
	size_t written, read;
};

struct host {
	struct serial_session session;
	uint8_t number; /* of the session */
	uint8_t n_sent;
};

struct guest {
	struct serial_session session;
	uint64_t next_tag;
	uint8_t number, n_received; /* of what is expected */
};

static void put_frame(struct line *line, struct serial_frame frame, const uint8_t *payload,
		      size_t keep)
{
	uint8_t data[SERIAL_HEADER_SIZE + PAYLOAD + SERIAL_MARK_SIZE];
	size_t size;

	memcpy(data + SERIAL_HEADER_SIZE, payload, frame.len);
	size = serial_frame_wrap(&frame, data);
	if (size > keep)
		size = keep;
	if (line->written + size > LINE_SIZE)
		return;
	memcpy(line->bytes + line->written, data, size);
	line->written += size;
}

/* A new host: the fill, and its call. */
static void start_host(struct line *line, struct host *host)
{
	uint8_t tag[SERIAL_TAG_SIZE];

	if (line->written + SERIAL_FRAME_MAX > LINE_SIZE)
		return;
	memset(line->bytes + line->written, 0, SERIAL_FRAME_MAX);
	line->written += SERIAL_FRAME_MAX;
	host->session = serial_session_host();
	host->number++;
	host->n_sent = 0;
	serial_session_call(&host->session, host->number);
	serial_tag_write(host->session.ours, tag);
	put_frame(line, serial_session_control(&host->session, SERIAL_CALL), tag, SIZE_MAX);
}

static void send_data(struct line *line, struct host *host, uint8_t filling, size_t keep)
{
	uint8_t payload[PAYLOAD];

	if (host->session.state != SERIAL_OPEN)
		return;
	memset(payload, filling, sizeof(payload));
	payload[0] = host->number;
	payload[1] = host->n_sent++;
	put_frame(line, serial_session_data(&host->session, PAYLOAD), payload, keep);
}

static void on_frame(struct host *host, struct guest *guest, const struct serial_frame *frame)
{
	enum serial_reply reply;
	enum serial_event event =
		serial_session_receive(&guest->session, frame, guest->next_tag, &reply);
	struct serial_frame answer;
	uint8_t tag[SERIAL_TAG_SIZE];

	if (event == SERIAL_EVENT_OPENED) {
		guest->next_tag += 1000003;
		guest->number = (uint8_t)guest->session.theirs;
		guest->n_received = 0;
	}
	if (event == SERIAL_EVENT_DATA) {
		check(frame->len == PAYLOAD);
		check(frame->payload[0] == guest->number);
		check(frame->payload[1] == guest->n_received);
		guest->n_received++;
	}
	if (reply != SERIAL_REPLY_ANSWER)
		return;
	answer = serial_session_control(&guest->session, SERIAL_ANSWER);
	serial_tag_write(guest->session.ours, tag);
	answer.payload = tag;
	(void)serial_session_receive(&host->session, &answer, 0, &reply);
}

/* The guest reads up to `limit`, in frames. */
static void receive(struct line *line, struct host *host, struct guest *guest, size_t limit)
{
	size_t len = line->written - line->read;
	struct serial_frame frame;
	ssize_t n;

	if (len > limit)
		len = limit;
	while ((n = serial_frame_parse(line->bytes + line->read, len, &frame)) != 0) {
		size_t step = (size_t)(n < 0 ? -n : n);

		check(step <= len);
		line->read += step;
		len -= step;
		if (n > 0)
			on_frame(host, guest, &frame);
	}
}

static void put_noise(struct line *line, struct cursor *c)
{
	uint8_t n = take8(c);

	for (unsigned int i = 0; i < n && line->written < LINE_SIZE; i++)
		line->bytes[line->written++] = take8(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line *line = calloc(1, sizeof(*line));
	struct cursor c = { data, size };
	struct host host = { .number = 0 };
	struct guest guest = { .session = serial_session_guest(), .next_tag = 0xabcdef };

	while (line && c.left > 0) {
		uint8_t what = take8(&c);

		switch (what % 6) {
		case 0:
			start_host(line, &host);
			break;
		case 1:
			send_data(line, &host, take8(&c), SIZE_MAX);
			break;
		case 2: /* and stops in it */
			send_data(line, &host, 'N', take8(&c));
			start_host(line, &host);
			break;
		case 3:
			receive(line, &host, &guest, take8(&c));
			break;
		case 4:
			receive(line, &host, &guest, LINE_SIZE);
			break;
		default: /* by nobody who knows the session's tags */
			start_host(line, &host);
			put_noise(line, &c);
			start_host(line, &host);
			break;
		}
	}
	/* whatever was before, a host that comes now gets through */
	if (line && line->written + SERIAL_FRAME_MAX + 1024 < LINE_SIZE) {
		start_host(line, &host);
		receive(line, &host, &guest, LINE_SIZE);
		check(host.session.state == SERIAL_OPEN);
		send_data(line, &host, 0, SIZE_MAX);
		receive(line, &host, &guest, LINE_SIZE);
		check(guest.number == host.number && guest.n_received == 1);
	}
	free(line);
	return 0;
}
