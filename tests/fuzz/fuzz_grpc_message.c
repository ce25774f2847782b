/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes yield the same messages, however the reads cut them; and what a message
 * is read as is well formed. The first byte chooses. */
#include <stdbool.h>
#include <string.h>

#include "forwarder/rpc/grpc_message.h"
#include "forwarder/rpc/messages.h"
#include "tests/fuzz/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	size_t n_messages, n_payload, n_rest;
	uint32_t digest;
	int error;
};

static void mix(struct result *r, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		r->digest = r->digest * 31 + data[i];
}

static void read_piece(struct grpc_reader *reader, const uint8_t *data, size_t len,
		       struct result *r)
{
	const uint8_t *end = data + len;
	int found;

	while ((found = grpc_reader_next(reader, &data, &len)) > 0) {
		check(data + len == end);
		if (found == GRPC_PAYLOAD) {
			check(reader->piece_len > 0 && reader->piece + reader->piece_len <= data);
			mix(r, reader->piece, reader->piece_len);
			r->n_payload += reader->piece_len;
		} else {
			check(reader->rest_len <= reader->limits.rest_max);
			mix(r, reader->rest, reader->rest_len);
			r->n_rest += reader->rest_len;
			r->n_messages++;
		}
	}
	check(found < 0 || len == 0);
	r->error = found;
}

static struct result read_cut(const struct cursor *c, size_t piece, unsigned int field)
{
	struct grpc_limits limits = { field, 1 << 20, 1 << 16 };
	struct result r = { 0 };
	struct grpc_reader reader;

	grpc_reader_init(&reader, &limits);
	for (size_t at = 0; at < c->left && r.error == 0; at += piece)
		read_piece(&reader, c->at + at, c->left - at < piece ? c->left - at : piece, &r);
	grpc_reader_deinit(&reader);
	return r;
}

static void fuzz_reader(const struct cursor *c, unsigned int field)
{
	struct result whole = read_cut(c, c->left + 1, field);
	struct result bytes = read_cut(c, 1, field), cut = read_cut(c, 7, field);

	/* what was found before an error may have been digested in another order:
	 * a payload is handed on before the rest is complete */
	check(whole.error == bytes.error && whole.error == cut.error);
	check(whole.n_messages == bytes.n_messages && whole.n_messages == cut.n_messages);
	if (whole.error == 0)
		check(whole.digest == bytes.digest && whole.digest == cut.digest);
}

static void on_listener(void *arg, bool is_added, const struct rpc_listener *l)
{
	size_t *n = arg;

	(void)is_added;
	check(l->guest.port > 0);
	(*n)++;
}

static void check_text(const char *text, size_t size)
{
	check(strnlen(text, size) < size);
	for (; *text; text++)
		check(*text > ' ' && *text < 0x7f);
}

static void check_place(const struct rpc_place *p)
{
	check(strnlen(p->path, sizeof(p->path)) < sizeof(p->path));
	check(p->path[0] ? p->path[0] == '/' : p->endpoint.port > 0);
}

static void fuzz_guest(const struct cursor *c)
{
	size_t n = 0;
	struct message_sink sink = { on_listener, &n };
	struct guest_open open;
	int64_t drift;

	(void)message_parse_guest_info(c->at, c->left, &sink);
	(void)message_parse_guest_event(c->at, c->left, &sink);
	(void)message_parse_guest_time(c->at, c->left, 0, &drift);
	if (message_parse_guest_open(c->at, c->left, &open) == 0) {
		check_text(open.id, sizeof(open.id));
		check(open.guest.port > 0);
	}
}

static void fuzz_own(const struct cursor *c)
{
	size_t n = 0;
	struct message_sink sink = { on_listener, &n };
	struct rpc_listen_message listen;
	struct rpc_flow_message flow;
	struct rpc_event event;
	struct rpc_hello hello;
	struct rpc_open at;

	(void)message_parse_event(c->at, c->left, &event, &sink);
	if (message_parse_hello(c->at, c->left, &hello) == 0)
		check_text(hello.version, sizeof(hello.version));
	if (message_parse_listen_at(c->at, c->left, &at) == 0) {
		check_place(&at.place);
		check(!at.is_udp || !at.place.path[0]);
	}
	if (message_parse_listen(c->at, c->left, &listen) == 0)
		check(listen.error <= 0 && listen.error >= -4095);
	if (message_parse_flow(c->at, c->left, &flow) < 0)
		return;
	check(flow.error <= 0 && flow.error >= -4095);
	if (flow.kind == RPC_FLOW_OPEN && !flow.open.accepted)
		check_place(&flow.open.place);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, size };
	uint8_t kind = take8(&c);

	if (kind % 3 == 0)
		fuzz_reader(&c, kind / 3 % 4);
	else if (kind % 3 == 1)
		fuzz_own(&c);
	else
		fuzz_guest(&c);
	return 0;
}
