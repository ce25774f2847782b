/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that writes any frames of HTTP/2, to the agent or to the host. The input
 * is a program: the first byte says to whom, then each instruction is a frame, a
 * call, a message, bytes as they are, or the passing of time. Flows lead to ports
 * of a network of our own where nobody listens.
 *
 * What must hold is what the code asserts, and that everything is freed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/agent/server.h"
#include "forwarder/agent_client.h"
#include "forwarder/tunnel.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/fuzz/cursor.h"
#include "tests/support/fake_loop.h"
#include "tests/support/h2_frames.h"
#include "tests/support/mem_stream.h"
#include "tests/support/own_network.h"

#define MAX_INSTRUCTIONS 200
#define MAX_CONNECTIONS 4
#define FILLER 40000U /* of a frame that is worth splicing */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const paths[] = {
	"/netfwd.v1.Agent/Flow",   "/netfwd.v1.Agent/Hello", "/netfwd.v1.Agent/Events",
	"/netfwd.v1.Agent/Listen", "/GuestService/Tunnel",   "/GuestService/GetInfo",
	"/GuestService/GetEvents", "/GuestService/SyncTime",
};

struct end {
	struct loop *loop;
	struct mem_stream streams[MAX_CONNECTIONS];
	unsigned int n_streams;
	struct agent_server *server;
	struct agent_client *client;
	struct stream *dialled;
	struct h2_bytes out;
	int pipe[2]; /* of the reader of what was dialled; empty between its calls */
};

/* Not closed by its owner yet. */
static struct mem_stream *current(struct end *e)
{
	struct mem_stream *s = e->n_streams ? &e->streams[e->n_streams - 1] : NULL;

	return s && !s->is_closed && !s->is_reset ? s : NULL;
}

static ssize_t splice_to(struct stream *base, int pipe, size_t max)
{
	static uint8_t block[60000]; /* what an empty pipe takes */
	struct iovec iov = { block, max < sizeof(block) ? max : sizeof(block) };
	ssize_t r = base->ops->read(base, &iov, 1);

	if (r > 0)
		check(write(pipe, block, (size_t)r) == r);
	return r;
}

/* Nothing that is sent here comes out of a pipe. */
static ssize_t splice_from(struct stream *base, int pipe, size_t max)
{
	(void)base;
	(void)pipe;
	check(max == 0);
	return -EAGAIN;
}

static int on_connect(void *arg, struct stream **out)
{
	struct end *e = arg;
	struct mem_stream *s;

	if (e->n_streams == MAX_CONNECTIONS)
		return -1;
	s = &e->streams[e->n_streams++];
	mem_stream_init(s, e->loop, 0);
	mem_stream_give_room(s, 1 << 20);
	s->ops.splice_to = splice_to;
	s->ops.splice_from = splice_from;
	*out = &s->base;
	return 0;
}

static void flush(struct end *e)
{
	struct mem_stream *s = current(e);

	if (s && e->out.len)
		mem_stream_feed(s, e->out.data, e->out.len);
	e->out.len = 0;
	fake_loop_settle(e->loop);
}

static void put_frame(struct end *e, struct cursor *c)
{
	struct h2_frame f = { .type = take8(c) % 12, .flags = take8(c), .stream = take8(c) };
	const uint8_t *payload;

	f.len = take_bytes(c, take8(c), &payload);
	f.payload = payload;
	h2_frame(&e->out, &f);
}

/* Begins as the input says, and goes on for long. */
static void put_large_frame(struct end *e, struct cursor *c)
{
	static uint8_t payload[255 + FILLER];
	struct h2_frame f = { .type = H2_DATA, .flags = take8(c), .stream = take8(c) };
	const uint8_t *data;

	f.len = take_bytes(c, take8(c), &data);
	memcpy(payload, data, f.len);
	memset(payload + f.len, 0, FILLER);
	f.len += FILLER - take8(c) * 100U;
	f.payload = payload;
	h2_frame(&e->out, &f);
}

static void put_message(struct end *e, struct cursor *c)
{
	uint32_t stream = take8(c);
	const uint8_t *data;
	size_t len = take_bytes(c, take8(c), &data);

	if (len)
		h2_message(&e->out, stream, data, len);
}

static void put_raw(struct end *e, struct cursor *c)
{
	const uint8_t *data;
	size_t len = take_bytes(c, take16(c) % 2048, &data);

	h2_raw(&e->out, data, len);
}

/* As a relay reads that splices. */
static void drain(void *arg)
{
	static uint8_t block[65536];
	struct end *e = arg;
	const struct stream_ops *ops = e->dialled->ops;
	struct iovec piece;
	ssize_t r;
	int n;

	do {
		r = ops->peek(e->dialled, &piece, 1, &n);
		if (r > 0)
			ops->consume(e->dialled, (size_t)r);
		if (r != -EAGAIN || !ops->splice_to)
			continue;
		r = ops->splice_to(e->dialled, e->pipe[1], sizeof(block));
		if (r > 0)
			check(read(e->pipe[0], block, sizeof(block)) == r);
	} while (r > 0);
	ops->want(e->dialled, STREAM_READ | STREAM_WRITE);
}

static void dial(struct end *e)
{
	struct tunnel_place place = { .endpoint = { IPADDR_V4(127, 0, 0, 1), 1 } };
	struct tunnel *t;

	if (!e->client)
		return;
	t = agent_client_tunnel(e->client);
	if (e->dialled)
		e->dialled->ops->reset(e->dialled);
	e->dialled = NULL;
	if (t->ops->dial(t, &place, &e->dialled) < 0)
		e->dialled = NULL;
	else
		stream_set_ready(e->dialled, drain, e);
}

static void use_dialled(struct end *e)
{
	static char block[70000];
	struct iovec iov = { block, sizeof(block) };

	if (!e->dialled)
		return;
	(void)e->dialled->ops->read(e->dialled, &iov, 1);
	(void)e->dialled->ops->write(e->dialled, &iov, 1);
	e->dialled->ops->want(e->dialled, STREAM_READ | STREAM_WRITE);
}

static void step(struct end *e, struct cursor *c)
{
	uint8_t what = take8(c);

	switch (what % 10) {
	case 0:
		if (what & 0x80)
			put_large_frame(e, c);
		else
			put_frame(e, c);
		break;
	case 1:
		h2_request(&e->out, take8(c), paths[take8(c) % 8]);
		break;
	case 2:
		put_message(e, c);
		break;
	case 3:
		h2_response(&e->out, take8(c));
		break;
	case 4:
		h2_trailers(&e->out, take8(c), what & 0x80 ? "0" : "12");
		break;
	case 5:
		put_raw(e, c);
		break;
	case 6:
		flush(e);
		fake_loop_advance(e->loop, take16(c));
		break;
	case 7:
		dial(e);
		break;
	case 8:
		use_dialled(e);
		break;
	default:
		flush(e);
		break;
	}
}

static void set_up(struct end *e, bool is_client)
{
	struct agent_client_config client = { .connect = on_connect, .arg = e };
	struct agent_server_config server = { .max_flows = 10 };
	const struct port_listener one = { FORWARD_TCP, { IPADDR_V4(127, 0, 0, 1), 80 } };
	struct stream *s;

	check(pipe2(e->pipe, O_NONBLOCK | O_CLOEXEC) == 0);
	check(loop_new(&e->loop) == 0);
	h2_init(&e->out);
	if (is_client) {
		check(agent_client_new(e->loop, &client, &e->client) == 0);
		fake_loop_advance(e->loop, 1);
		h2_settings(&e->out);
		return;
	}
	check(agent_server_new(e->loop, &server, &e->server) == 0);
	agent_server_set_listeners(e->server, &one, 1);
	check(on_connect(e, &s) == 0);
	agent_server_accept(e->server, s);
	h2_hello(&e->out);
}

static void tear_down(struct end *e)
{
	if (e->dialled)
		e->dialled->ops->reset(e->dialled);
	agent_client_free(e->client);
	agent_server_free(e->server);
	for (unsigned int i = 0; i < e->n_streams; i++)
		mem_stream_deinit(&e->streams[i]);
	h2_deinit(&e->out);
	loop_free(e->loop);
	close(e->pipe[0]);
	close(e->pipe[1]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	own_network_enter();
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, size };
	struct end e = { 0 };

	set_up(&e, take8(&c) & 1);
	for (int i = 0; i < MAX_INSTRUCTIONS && c.left; i++)
		step(&e, &c);
	flush(&e);
	tear_down(&e);
	return 0;
}
