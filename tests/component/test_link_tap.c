/* SPDX-License-Identifier: Apache-2.0 */
/* link_tap.c, netns.c and rtnetlink.c with the kernel: the guest is a namespace
 * of inside.h. Packet sockets in it play its programs. */
#include "netstack/link_tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netstack/base/bytes.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"
#include "tests/support/fake_loop.h"
#include "tests/support/inside.h"
#include "tests/support/link_probe.h"

#define MTU 65520
#define TEST_ETHERTYPE 0x88b5 /* of numbered_frame() */

struct fixture {
	struct loop *loop;
	struct link_probe probe;
	struct inside guest;
	struct tap_config config;
	int packet;		  /* a packet socket on the interface, inside */
	unsigned int n_from_test; /* without what the kernel sends by itself */
	struct frame_offload last_offload;
	uint8_t last[FRAME_MAX_SIZE];
	size_t last_len;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->packet = -1;
	inside_start(&f->guest);
	f->config = (struct tap_config){
		.netns = f->guest.pid_text,
		.ifname = "eth0",
		.mtu = MTU,
		.addr4 = IPADDR_V4(192, 168, 5, 15),
		.gateway4 = IPADDR_V4(192, 168, 5, 2),
		.prefix4_bits = 24,
		.prefix6_bits = 64,
	};
	if (ipaddr_parse("fd00:c0a8:5::15", &f->config.addr6) < 0 ||
	    ipaddr_parse("fd00:c0a8:5::2", &f->config.gateway6) < 0)
		return -1;
	return loop_new(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	link_free(f->probe.link);
	loop_free(f->loop);
	if (f->packet >= 0)
		close(f->packet);
	inside_stop(&f->guest);
	free(f);
	return 0;
}

static struct fixture *fixture_or_skip(void **state)
{
	struct fixture *f = *state;

	if (f->guest.pid < 0 || access("/dev/net/tun", R_OK | W_OK) < 0)
		skip();
	return f;
}

/* ---- inside the namespace ---- */

/* A packet socket for frames of one kind, with virtio-net headers. */
static int open_packet_socket(const void *arg)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(*(const uint16_t *)arg) };
	const int one = 1;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	sa.sll_ifindex = (int)if_nametoindex("eth0");
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return INSIDE_FAILED(errno);
	return fd;
}

/* A socket whose own address says where a datagram would be sent from. */
static int connect_udp(const void *arg)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(arg, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) < 0)
		return INSIDE_FAILED(errno);
	return fd;
}

static int set_flags(const void *arg)
{
	struct ifreq ifr = { .ifr_name = "eth0", .ifr_flags = *(const short *)arg };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? INSIDE_FAILED(errno) : INSIDE_NOTHING;
}

/* RTM_DELLINK; nothing is read back, the test sees what happens. */
static int delete_interface(const void *arg)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = RTM_DELLINK,
			    .nlmsg_flags = NLM_F_REQUEST },
		.link = { .ifi_index = (int)if_nametoindex(arg) },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return send(fd, &request, sizeof(request), 0) < 0 ? INSIDE_FAILED(errno) : INSIDE_NOTHING;
}

static int has_interface(const void *arg)
{
	errno = ENODEV;
	return if_nametoindex(arg) ? INSIDE_NOTHING : INSIDE_FAILED(errno);
}

/* ---- outside ---- */

/* Not the IPv6 that the kernel sends by itself: router solicitations, MLD. */
static void keep_frame(struct link_probe *probe, struct frame *frame)
{
	struct fixture *f = container_of(probe, struct fixture, probe);

	if (get_be16(probe->last + 12) == ETHERTYPE_IP6)
		return;
	f->n_from_test++;
	f->last_offload = frame->offload;
	memcpy(f->last, probe->last, probe->last_len);
	f->last_len = probe->last_len;
}

static void start_link(struct fixture *f)
{
	struct link *link;

	assert_int_equal(link_tap_new(f->loop, &f->config, &link), 0);
	link_probe_attach(&f->probe, link);
	f->probe.on_frame = keep_frame;
	fake_loop_settle(f->loop);
	assert_true(f->probe.is_up);
}

static void open_packet(struct fixture *f, uint16_t ethertype)
{
	f->packet = inside_run(&f->guest, open_packet_socket, &ethertype);
	assert_true(f->packet >= 0);
}

static void guest_send(struct fixture *f, const void *header, const void *data, size_t len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)header, 10 },
				{ (void *)(uintptr_t)data, len } };

	assert_int_equal(writev(f->packet, iov, 2), 10 + len);
}

static size_t guest_read(struct fixture *f, uint8_t header[10], void *data, size_t size)
{
	struct iovec iov[2] = { { header, 10 }, { data, size } };
	ssize_t n = readv(f->packet, iov, 2);

	return n < 10 ? 0 : (size_t)n - 10;
}

static int n_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- tests ---- */

static void expect_source(struct fixture *f, const char *to, const struct ipaddr *expected)
{
	struct endpoint dst = { .port = 9 }, src;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd;

	assert_int_equal(ipaddr_parse(to, &dst.addr), 0);
	fd = inside_run(&f->guest, connect_udp, &dst);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(endpoint_from_sockaddr(&sa, &src), 0);
	assert_true(ipaddr_equal(&src.addr, expected));
	close(fd);
}

static void the_namespace_is_connected(void **state)
{
	static const struct ipaddr loopback = IPADDR_V4(127, 0, 0, 1);
	struct fixture *f = fixture_or_skip(state);

	start_link(f);

	expect_source(f, "127.0.0.1", &loopback);
	expect_source(f, "192.168.5.2", &f->config.addr4);
	expect_source(f, "198.51.100.1", &f->config.addr4);
	expect_source(f, "fd00:c0a8:5::2", &f->config.addr6);
	expect_source(f, "2001:db8::1", &f->config.addr6);
}

static void the_link_says_what_it_can(void **state)
{
	struct fixture *f = fixture_or_skip(state);

	start_link(f);

	assert_int_equal(f->probe.link->caps.mtu, MTU);
	assert_true(f->probe.link->caps.csum);
	assert_true(f->probe.link->caps.tso);
	assert_true(f->probe.link->caps.lossless);
}

static void the_caller_stays_where_it_was(void **state)
{
	struct fixture *f = fixture_or_skip(state);
	int before = n_descriptors();
	char ns[2][64] = { "", "" };

	assert_true(readlink("/proc/self/ns/net", ns[0], 63) > 0);
	start_link(f);

	assert_true(readlink("/proc/self/ns/net", ns[1], 63) > 0);
	assert_string_equal(ns[0], ns[1]);
	assert_int_equal(n_descriptors(), before + 1);
}

static void frames_of_the_guest_arrive(void **state)
{
	static const uint8_t plain[10];
	static const size_t sizes[] = { 60, 1514, 9014, MTU + ETH_HEADER_SIZE };
	static uint8_t bytes[FRAME_MAX_SIZE];
	struct fixture *f = fixture_or_skip(state);

	start_link(f);
	open_packet(f, TEST_ETHERTYPE);
	for (unsigned int i = 0; i < 100; i++) {
		size_t len = sizes[i % 4];

		numbered_frame(bytes, len, i);
		guest_send(f, plain, bytes, len);
		if (i % 7)
			continue;
		fake_loop_settle(f->loop);
		assert_int_equal(f->n_from_test, i + 1);
		assert_true(is_numbered_frame(f->last, f->last_len, i));
	}
	fake_loop_settle(f->loop);

	assert_int_equal(f->n_from_test, 100);
	assert_true(f->probe.n_batches < f->probe.n_frames);
	assert_int_equal(f->last_offload.gso, FRAME_GSO_NONE);
	assert_false(f->last_offload.csum_partial);
}

static void frames_for_the_guest_arrive(void **state)
{
	static const size_t sizes[] = { 60, 1514, 9014, MTU + ETH_HEADER_SIZE };
	static uint8_t bytes[FRAME_MAX_SIZE];
	struct fixture *f = fixture_or_skip(state);
	uint8_t header[10];

	start_link(f);
	open_packet(f, TEST_ETHERTYPE);
	for (unsigned int i = 0; i < 40; i++) {
		numbered_frame(bytes, sizes[i % 4], i);
		assert_int_equal(link_probe_send(&f->probe, bytes, sizes[i % 4]), 0);
		memset(bytes, 0, sizeof(bytes));

		assert_int_equal(guest_read(f, header, bytes, sizeof(bytes)), sizes[i % 4]);
		assert_true(is_numbered_frame(bytes, sizes[i % 4], i));
	}
	assert_int_equal(f->probe.link->counters.tx_frames, 40);
}

/* A TCP segment of 40000 bytes, to be cut at an MTU of 1500. */
#define TCP_HEADERS 54U
#define TCP_PAYLOAD 40000U

static void make_tcp(uint8_t *at, const struct ipaddr *src, const struct ipaddr *dst)
{
	static const struct mac mac = { { 2, 0, 0, 0, 0, 1 } };
	struct ip_fields ip = {
		.src = src, .dst = dst, .protocol = IP_PROTO_TCP, .payload_len = 20 + TCP_PAYLOAD
	};
	uint16_t sum = checksum_fold(checksum_pseudo(src, dst, IP_PROTO_TCP, ip.payload_len));

	memset(at, 0, TCP_HEADERS);
	packet_put_ethernet(at, &mac, &mac, ETHERTYPE_IP4);
	packet_put_ip(at + ETH_HEADER_SIZE, &ip);
	put_be16(at + 34, 1234);
	put_be16(at + 36, 80);
	at[34 + 12] = 0x50;
	at[34 + 13] = TCP_FLAG_ACK;
	memcpy(at + 34 + 16, &sum, 2);
	memset(at + TCP_HEADERS, 'x', TCP_PAYLOAD);
}

static const struct frame_offload tcp_offload = {
	.gso = FRAME_GSO_TCP4,
	.gso_size = 1460,
	.header_size = TCP_HEADERS,
	.csum_partial = true,
	.csum_start = 34,
	.csum_offset = 16,
};

static void a_large_segment_of_the_guest_arrives_uncut(void **state)
{
	static uint8_t bytes[TCP_HEADERS + TCP_PAYLOAD];
	struct fixture *f = fixture_or_skip(state);
	struct frame frame = { .offload = tcp_offload };
	uint8_t header[VNET_HEADER_SIZE];

	start_link(f);
	open_packet(f, ETH_P_IP);
	make_tcp(bytes, &f->config.addr4, &f->config.gateway4);
	frame_encode_vnet(&frame, header);
	guest_send(f, header, bytes, sizeof(bytes));
	fake_loop_settle(f->loop);

	assert_int_equal(f->n_from_test, 1);
	assert_int_equal(f->last_len, sizeof(bytes));
	assert_memory_equal(f->last, bytes, sizeof(bytes));
	assert_int_equal(f->last_offload.gso, FRAME_GSO_TCP4);
	assert_int_equal(f->last_offload.gso_size, 1460);
	assert_true(f->last_offload.csum_partial);
	assert_int_equal(f->last_offload.csum_start, 34);
	assert_int_equal(f->last_offload.csum_offset, 16);
}

static void a_large_segment_for_the_guest_arrives_uncut(void **state)
{
	static uint8_t bytes[TCP_HEADERS + TCP_PAYLOAD], got[FRAME_MAX_SIZE];
	struct fixture *f = fixture_or_skip(state);
	struct frame_offload offload;
	struct frame frame;
	uint8_t header[VNET_HEADER_SIZE] = { 0 };

	f->config.mtu = 1500;
	start_link(f);
	open_packet(f, ETH_P_IP);
	make_tcp(bytes, &f->config.gateway4, &f->config.addr4);
	frame_init(&frame);
	frame.offload = tcp_offload;
	frame_add(&frame, bytes, TCP_HEADERS);
	frame_add(&frame, bytes + TCP_HEADERS, 10000);
	frame_add(&frame, bytes + TCP_HEADERS + 10000, TCP_PAYLOAD - 10000);
	assert_int_equal(link_send(f->probe.link, &frame), 0);

	assert_int_equal(guest_read(f, header, got, sizeof(got)), sizeof(bytes));
	assert_memory_equal(got, bytes, sizeof(bytes));
	assert_int_equal(frame_decode_vnet(header, sizeof(bytes), &offload), 0);
	assert_int_equal(offload.gso, FRAME_GSO_TCP4);
	assert_int_equal(offload.gso_size, 1460);
}

static void a_taken_name_is_refused(void **state)
{
	struct fixture *f = fixture_or_skip(state);
	struct link *link;

	start_link(f);
	assert_int_equal(link_tap_new(f->loop, &f->config, &link), -EEXIST);
	f->config.ifname = "lo";
	assert_int_equal(link_tap_new(f->loop, &f->config, &link), -EEXIST);
}

static void a_name_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "eth%d", "a/b", "a b", ".", "..", "sixteen-letters-"
	};
	struct fixture *f = fixture_or_skip(state);
	struct link *link;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f->config.ifname = bad[i];
		assert_int_equal(link_tap_new(f->loop, &f->config, &link), -EINVAL);
	}
}

static void something_else_is_no_namespace(void **state)
{
	struct fixture *f = fixture_or_skip(state);
	struct link *link;

	f->config.netns = "/dev/null";
	assert_int_equal(link_tap_new(f->loop, &f->config, &link), -EINVAL);
	f->config.netns = "/proc/self/ns/uts";
	assert_int_equal(link_tap_new(f->loop, &f->config, &link), -EINVAL);
	f->config.netns = "no-such-namespace-here";
	assert_int_equal(link_tap_new(f->loop, &f->config, &link), -ENOENT);
}

static void a_path_names_a_namespace_too(void **state)
{
	struct fixture *f = fixture_or_skip(state);
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%s/ns/net", f->guest.pid_text);
	f->config.netns = path;
	start_link(f);

	expect_source(f, "198.51.100.1", &f->config.addr4);
}

/* Nothing is left behind when a later step fails. */
static void a_failure_leaves_no_interface(void **state)
{
	struct fixture *f = fixture_or_skip(state);
	int before = n_descriptors();
	struct link *link;

	f->config.prefix4_bits = 33;
	assert_int_equal(link_tap_new(f->loop, &f->config, &link), -EINVAL);
	assert_int_equal(n_descriptors(), before);
	f->config.prefix4_bits = 24;
	start_link(f);
}

static void a_deleted_interface_takes_the_link_down(void **state)
{
	static uint8_t bytes[60];
	struct fixture *f = fixture_or_skip(state);

	start_link(f);
	assert_int_equal(inside_run(&f->guest, delete_interface, "eth0"), INSIDE_NOTHING);
	fake_loop_settle(f->loop);

	assert_false(f->probe.is_up);
	assert_int_equal(f->probe.n_downs, 1);
	numbered_frame(bytes, sizeof(bytes), 0);
	assert_int_equal(link_probe_send(&f->probe, bytes, sizeof(bytes)), -ENETDOWN);
}

static void an_interface_that_is_set_down_may_come_up_again(void **state)
{
	static const short down = 0, up = IFF_UP;
	static uint8_t bytes[60];
	struct fixture *f = fixture_or_skip(state);

	start_link(f);
	numbered_frame(bytes, sizeof(bytes), 0);
	assert_int_equal(inside_run(&f->guest, set_flags, &down), INSIDE_NOTHING);
	assert_int_equal(link_probe_send(&f->probe, bytes, sizeof(bytes)), -ENETDOWN);
	fake_loop_settle(f->loop);
	assert_int_equal(f->probe.link->counters.tx_dropped, 1);
	assert_true(f->probe.is_up);

	assert_int_equal(inside_run(&f->guest, set_flags, &up), INSIDE_NOTHING);
	assert_int_equal(link_probe_send(&f->probe, bytes, sizeof(bytes)), 0);
	fake_loop_settle(f->loop);
}

static void the_interface_goes_away_with_the_link(void **state)
{
	struct fixture *f = fixture_or_skip(state);

	start_link(f);
	assert_int_equal(inside_run(&f->guest, has_interface, "eth0"), INSIDE_NOTHING);
	link_free(f->probe.link);
	f->probe.link = NULL;

	assert_int_equal(inside_run(&f->guest, has_interface, "eth0"), INSIDE_FAILED(ENODEV));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_namespace_is_connected),
		TEST(the_link_says_what_it_can),
		TEST(the_caller_stays_where_it_was),
		TEST(frames_of_the_guest_arrive),
		TEST(frames_for_the_guest_arrive),
		TEST(a_large_segment_of_the_guest_arrives_uncut),
		TEST(a_large_segment_for_the_guest_arrives_uncut),
		TEST(a_taken_name_is_refused),
		TEST(a_name_that_is_none_is_refused),
		TEST(something_else_is_no_namespace),
		TEST(a_path_names_a_namespace_too),
		TEST(a_failure_leaves_no_interface),
		TEST(a_deleted_interface_takes_the_link_down),
		TEST(an_interface_that_is_set_down_may_come_up_again),
		TEST(the_interface_goes_away_with_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
