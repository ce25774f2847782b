/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own vsock, against itself: its loopback, CID 1. Where the kernel has none
 * the tests are skipped; system/test_vsock.py runs them in a guest, whose kernel has. */
#include "netstack/vsock/kernel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <cmocka.h>

#include "netstack/base/loop.h"
#include "netstack/stream.h"
#include "tests/support/run_until.h"

#define FIRST_PORT 5000U
#define LAST_PORT 5100U
#define OTHER_CID 7U

struct fixture {
	struct loop *loop;
	struct vsock *vsock;
	struct vsock_listener listener;
	struct stream *dialled, *accepted;
	uint32_t host_port, caller;
	char got[16];
	ssize_t n_got;
};

/* What is wrong with it; NULL: nothing. Asked by bind(2), which sends nothing: elsewhere
 * a packet for that CID would go to the machine's hypervisor. */
static const char *loopback_missing(void)
{
	const struct sockaddr_vm sa = { .svm_family = AF_VSOCK,
					.svm_cid = VMADDR_CID_LOCAL,
					.svm_port = VMADDR_PORT_ANY };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? errno : 0;

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error ? strerror(error) : NULL;
}

static int accept_call(void *arg, const struct vsock_call *call, struct stream *stream)
{
	struct fixture *f = arg;

	f->caller = call->guest_port;
	f->accepted = stream;
	return 0;
}

static void listen_somewhere(struct fixture *f)
{
	int r = -EADDRINUSE;

	f->listener =
		(struct vsock_listener){ .port = FIRST_PORT, .accept = accept_call, .arg = f };
	for (; f->listener.port < LAST_PORT; f->listener.port++) {
		r = vsock_listen(f->vsock, &f->listener);
		if (r != -EADDRINUSE)
			break;
	}
	assert_int_equal(r, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return loop_new(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->dialled)
		f->dialled->ops->reset(f->dialled);
	if (f->accepted)
		f->accepted->ops->reset(f->accepted);
	if (f->vsock) {
		vsock_unlisten(f->vsock, &f->listener);
		vsock_free(f->vsock);
	}
	loop_free(f->loop);
	free(f);
	return 0;
}

/* The guest is that CID; who calls is CID 1 in any case. */
static void start(struct fixture *f, uint32_t cid)
{
	const char *missing = loopback_missing();

	if (missing) {
		print_message("this kernel has no vsock loopback: %s\n", missing);
		skip();
	}
	assert_int_equal(vsock_kernel_new(f->loop, cid, &f->vsock), 0);
}

static bool is_accepted(void *arg)
{
	const struct fixture *f = arg;

	return f->accepted;
}

static bool has_read(void *arg)
{
	struct fixture *f = arg;
	struct iovec iov = { f->got, sizeof(f->got) };

	f->n_got = f->accepted->ops->read(f->accepted, &iov, 1);
	return f->n_got != -EAGAIN;
}

static bool has_answer(void *arg)
{
	struct fixture *f = arg;
	struct iovec iov = { f->got, sizeof(f->got) };

	f->n_got = f->dialled->ops->read(f->dialled, &iov, 1);
	return f->n_got != -EAGAIN;
}

static void ignore(void *arg)
{
	(void)arg; /* its loop wakes up for it, which is all */
}

static void watch_stream(struct stream *s)
{
	stream_set_ready(s, ignore, NULL);
	s->ops->want(s, STREAM_READ);
}

static void connect_both(struct fixture *f)
{
	start(f, VMADDR_CID_LOCAL);
	listen_somewhere(f);
	assert_int_equal(vsock_dial(f->vsock, f->listener.port, &f->host_port, &f->dialled), 0);
	watch_stream(f->dialled);
	run_until(f->loop, is_accepted, f);
	watch_stream(f->accepted);
	assert_int_equal(f->caller, f->host_port);
}

static void bytes_and_each_end_arrive(void **state)
{
	struct fixture *f = *state;
	char hello_bytes[] = "hello", bye_bytes[] = "bye";
	struct iovec hello = { hello_bytes, 5 }, bye = { bye_bytes, 3 };

	connect_both(f);
	assert_int_equal(f->dialled->ops->write(f->dialled, &hello, 1), 5);
	run_until(f->loop, has_read, f);
	assert_int_equal(f->n_got, 5);
	assert_memory_equal(f->got, "hello", 5);
	assert_int_equal(f->dialled->ops->shutdown(f->dialled), 0);
	run_until(f->loop, has_read, f);
	assert_int_equal(f->n_got, 0);
	assert_int_equal(f->accepted->ops->write(f->accepted, &bye, 1), 3);
	run_until(f->loop, has_answer, f);
	assert_int_equal(f->n_got, 3);
	assert_int_equal(f->accepted->ops->shutdown(f->accepted), 0);
	run_until(f->loop, has_answer, f);
	assert_int_equal(f->n_got, 0);
}

static void a_port_that_nobody_listens_at_is_refused(void **state)
{
	struct fixture *f = *state;

	start(f, VMADDR_CID_LOCAL);
	assert_int_equal(vsock_dial(f->vsock, LAST_PORT + 1, &f->host_port, &f->dialled), 0);
	watch_stream(f->dialled);
	run_until(f->loop, has_answer, f);
	assert_true(f->n_got == -ECONNRESET || f->n_got == -ECONNREFUSED);
}

static void another_cid_than_the_guests_is_sent_away(void **state)
{
	struct fixture *f = *state;
	struct vsock *caller;

	start(f, OTHER_CID);
	listen_somewhere(f);
	assert_int_equal(vsock_kernel_new(f->loop, VMADDR_CID_LOCAL, &caller), 0);
	assert_int_equal(vsock_dial(caller, f->listener.port, &f->host_port, &f->dialled), 0);
	watch_stream(f->dialled);
	run_until(f->loop, has_answer, f);
	assert_true(f->n_got <= 0);
	assert_null(f->accepted);
	vsock_free(caller);
}

static void a_port_has_one_listener(void **state)
{
	struct fixture *f = *state;
	struct vsock_listener second;

	start(f, VMADDR_CID_LOCAL);
	listen_somewhere(f);
	second = f->listener;
	assert_int_equal(vsock_listen(f->vsock, &second), -EADDRINUSE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_and_each_end_arrive),
		TEST(a_port_that_nobody_listens_at_is_refused),
		TEST(another_cid_than_the_guests_is_sent_away),
		TEST(a_port_has_one_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
