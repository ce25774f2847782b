/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/outgoing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/host_socket.h"

uint8_t outgoing_data[OUTGOING_SIZE];

int outgoing_start(struct outgoing *o, const struct link_caps *caps, const char *address)
{
	memset(o, 0, sizeof(*o));
	o->server = -1;
	o->got = malloc(OUTGOING_SIZE + 1);
	for (size_t i = 0; i < OUTGOING_SIZE; i++)
		outgoing_data[i] = (uint8_t)(i * 13 + i / 254);
	o->listener = host_listen(address, &o->port);
	return o->got ? guest_start(&o->guest, caps, NULL) : -1;
}

void outgoing_stop(struct outgoing *o)
{
	guest_stop(&o->guest);
	if (o->peer.guest)
		tcp_peer_deinit(&o->peer);
	if (o->server >= 0)
		close(o->server);
	close(o->listener);
	free(o->got);
}

bool outgoing_accept(struct outgoing *o)
{
	if (o->server < 0)
		o->server = host_accept(o->listener);
	return o->server >= 0;
}

void outgoing_connect(struct outgoing *o, const struct ipaddr *dst)
{
	tcp_peer_init(&o->peer, &o->guest, dst, 40000, o->port);
	tcp_peer_syn(&o->peer);
	GUEST_UNTIL(&o->guest, o->peer.has_syn && outgoing_accept(o));
	assert_int_equal(guest_counter(&o->guest, "tcp.out.open"), 1);
}

ssize_t outgoing_read(struct outgoing *o)
{
	ssize_t n = read(o->server, o->got + o->got_len, OUTGOING_SIZE + 1 - o->got_len);

	if (n > 0)
		o->got_len += (size_t)n;
	return n;
}

bool outgoing_has(struct outgoing *o, size_t len)
{
	ssize_t n = outgoing_read(o);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		fail_msg("after %zu bytes: %s", o->got_len, n ? strerror(errno) : "the end");
	if (o->got_len < len)
		return false;
	assert_int_equal(o->got_len, len);
	assert_memory_equal(o->got, outgoing_data, len);
	return true;
}

bool outgoing_ended(struct outgoing *o)
{
	ssize_t n = outgoing_read(o);

	if (n < 0 && errno != EAGAIN)
		fail_msg("after %zu bytes: %s", o->got_len, strerror(errno));
	return n == 0;
}

size_t outgoing_guest_writes(struct outgoing *o, size_t from, size_t to, bool server_reads)
{
	size_t at = from;

	for (int steps = 0; at < to; steps++) {
		at += tcp_peer_write(&o->peer, outgoing_data + at, to - at);
		guest_run(&o->guest);
		if (server_reads)
			(void)outgoing_read(o);
		else if (o->peer.host_window == 0 && o->peer.acked == o->peer.seq)
			break;
		if (steps > PATIENCE_STEPS)
			fail_msg("in vain: %zu of %zu written", at, to);
		if (o->peer.host_window == 0)
			usleep(PATIENCE_STEP_US);
	}
	return at;
}

size_t outgoing_server_writes(struct outgoing *o, size_t from, size_t to)
{
	size_t at = from;

	for (int idle = 0; at < to && idle < 100; idle++) {
		ssize_t n = write(o->server, outgoing_data + at, to - at);

		if (n > 0) {
			at += (size_t)n;
			idle = 0;
		} else {
			usleep(PATIENCE_STEP_US);
		}
		guest_run(&o->guest);
	}
	return at;
}

void outgoing_assert_guest_got(const struct outgoing *o, size_t len)
{
	assert_int_equal(o->peer.received_len, len);
	assert_memory_equal(o->peer.received, outgoing_data, len);
}
