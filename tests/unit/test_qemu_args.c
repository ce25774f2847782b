/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu_args.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text;
	unsigned int major, minor;
	const char *reconnect;
} version_cases[] = {
	{ "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", 7, 2, "" },
	{ "QEMU emulator version 6.2.0", 6, 2, "" },
	{ "QEMU emulator version 8.0.0", 8, 0, ",reconnect=1" },
	{ "QEMU emulator version 8.2.2 (qemu-8.2.2-1.fc40)", 8, 2, ",reconnect=1" },
	{ "QEMU emulator version 9.1.3", 9, 1, ",reconnect=1" },
	{ "QEMU emulator version 9.2.0", 9, 2, ",reconnect-ms=500" },
	{ "QEMU emulator version 10.0.2 (v10.0.2)", 10, 0, ",reconnect-ms=500" },
	{ "QEMU emulator version 10.1.50", 10, 1, ",reconnect-ms=500" },
};

static void each_version_has_its_way_to_connect_again(void **state)
{
	const struct qemu_version unknown = { 0, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(version_cases) / sizeof(version_cases[0]); i++) {
		struct qemu_version version;

		assert_int_equal(qemu_version_parse(version_cases[i].text, &version), 0);
		assert_int_equal(version.major, version_cases[i].major);
		assert_int_equal(version.minor, version_cases[i].minor);
		assert_string_equal(qemu_reconnect_option(&version), version_cases[i].reconnect);
	}
	assert_string_equal(qemu_reconnect_option(&unknown), "");
}

static void other_answers_name_no_version(void **state)
{
	static const char *const texts[] = {
		"", "version", "version seven", "version 7", "qemu: unknown option",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct qemu_version version;

		assert_int_equal(qemu_version_parse(texts[i], &version), -EINVAL);
	}
}

static void the_arguments_are_the_documented_ones(void **state)
{
	const struct qemu_version v72 = { 7, 2 }, v92 = { 9, 2 };
	const struct mac mac = { { 0x52, 0x4e, 0x46, 0, 0xab, 9 } };
	char got[QEMU_ARG_SIZE];

	(void)state;
	assert_int_equal(qemu_netdev_fd(7, got), 0);
	assert_string_equal(got, "stream,id=netfwd0,server=off,addr.type=fd,addr.str=7");
	assert_int_equal(qemu_chardev_fd(8, got), 0);
	assert_string_equal(got, "socket,id=netfwd-agent0,fd=8");
	assert_int_equal(qemu_serial("virtio-net-pci", got), 0);
	assert_string_equal(got, "virtio-serial-pci,id=netfwd-serial0");
	assert_int_equal(qemu_serial("virtio-net-ccw", got), 0);
	assert_string_equal(got, "virtio-serial-ccw,id=netfwd-serial0");
	assert_int_equal(qemu_netdev_stream("/run/n.sock", &v72, got), 0);
	assert_string_equal(got, "stream,id=netfwd0,server=off,addr.type=unix,"
				 "addr.path=/run/n.sock");
	assert_int_equal(qemu_netdev_stream("/run/a,b", &v92, got), 0);
	assert_string_equal(got, "stream,id=netfwd0,server=off,addr.type=unix,"
				 "addr.path=/run/a,,b,reconnect-ms=500");
	assert_int_equal(qemu_netdev_dgram("/run/n.sock", got), 0);
	assert_string_equal(got, "dgram,id=netfwd0,local.type=unix,local.path=/run/n.sock.qemu,"
				 "remote.type=unix,remote.path=/run/n.sock");
	assert_int_equal(qemu_object_memory("1G", got), 0);
	assert_string_equal(got, "memory-backend-memfd,id=netfwd-memory,share=on,size=1G");
	assert_int_equal(qemu_chardev("x", "/run/a,b", got), 0);
	assert_string_equal(got, "socket,id=x,path=/run/a,,b");
	assert_int_equal(qemu_chardev_vhost_user("/run/a,b", &v72, got), 0);
	assert_string_equal(got, "socket,id=netfwd-nic,path=/run/a,,b,reconnect=1");
	assert_int_equal(qemu_chardev_vhost_user("/run/n.sock", &v92, got), 0);
	assert_string_equal(got, "socket,id=netfwd-nic,path=/run/n.sock,reconnect-ms=500");
	assert_int_equal(qemu_device("virtio-net-pci", &mac, 65520, got), 0);
	assert_string_equal(got, "virtio-net-pci,netdev=netfwd0,mac=52:4e:46:00:ab:09,"
				 "host_mtu=65520");
}

static void a_path_that_does_not_fit_is_an_error(void **state)
{
	const struct qemu_version v72 = { 7, 2 };
	char path[1000], got[QEMU_ARG_SIZE];

	(void)state;
	memset(path, ',', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(qemu_netdev_stream(path, &v72, got), -ENAMETOOLONG);
	assert_int_equal(qemu_netdev_dgram(path, got), -ENAMETOOLONG);
	assert_int_equal(qemu_chardev_vhost_user(path, &v72, got), -ENAMETOOLONG);
}

static void the_mac_is_stable_local_and_of_the_name(void **state)
{
	struct mac a = qemu_mac("first", 5), again = qemu_mac("first", 5);
	struct mac b = qemu_mac("second", 6), none = qemu_mac("", 0);

	(void)state;
	assert_true(mac_equal(&a, &again));
	assert_false(mac_equal(&a, &b));
	assert_false(mac_equal(&a, &none));
	assert_int_equal(a.b[0] & 3, 2); /* locally administered, not a group */
	assert_false(mac_is_group(&none));
}

/* A command line in words, as main() gets it. */
static void read_line(const char *line, struct qemu_guest *guest, char *error, int want)
{
	static char words[512];
	char *argv[32], *save = NULL;
	int n = 0;

	(void)snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	argv[n] = NULL;
	assert_int_equal(qemu_args_read(argv, guest, error), want);
}

static const struct {
	const char *line;
	const char *model;
	const char *name;
	bool has_device;
} guest_cases[] = {
	{ "qemu-system-x86_64", "virtio-net-pci", "", false },
	{ "/usr/bin/qemu-system-aarch64 -M virt", "virtio-net-pci", "", false },
	{ "qemu-system-s390x -M s390-ccw-virtio", "virtio-net-ccw", "", false },
	{ "qemu-system-x86_64 -M microvm", "virtio-net-device", "", false },
	{ "qemu-system-x86_64 --machine microvm,x-option-roms=off", "virtio-net-device", "",
	  false },
	{ "qemu-system-x86_64 -machine accel=kvm,type=microvm", "virtio-net-device", "", false },
	{ "qemu-system-x86_64 -machine q35,accel=kvm", "virtio-net-pci", "", false },
	{ "qemu-system-x86_64 -name microvm", "virtio-net-pci", "microvm", false },
	{ "q -name box,process=p", "virtio-net-pci", "box", false },
	{ "q -name debug-threads=on,guest=box", "virtio-net-pci", "box", false },
	{ "q -uuid 1-2 -name box", "virtio-net-pci", "1-2", false },
	{ "q -name box -uuid 1-2", "virtio-net-pci", "1-2", false },
	{ "q -device e1000,netdev=netfwd0", "virtio-net-pci", "", true },
	{ "q -device {\"driver\":\"e1000\",\"netdev\":\"netfwd0\"}", "virtio-net-pci", "", true },
	{ "q -device e1000,netdev=netfwd01", "virtio-net-pci", "", false },
	{ "q -netdev user,id=n0", "virtio-net-pci", "", false },
	{ "q -drive id=netfwd0", "virtio-net-pci", "", false },
};

static void the_users_arguments_say_what_guest_it_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(guest_cases) / sizeof(guest_cases[0]); i++) {
		char error[QEMU_ERROR_SIZE], name[64];
		struct qemu_guest guest;

		read_line(guest_cases[i].line, &guest, error, 0);
		assert_string_equal(guest.model, guest_cases[i].model);
		(void)snprintf(name, sizeof(name), "%.*s", (int)guest.name_len, guest.name);
		assert_string_equal(name, guest_cases[i].name);
		assert_int_equal(guest.has_device, guest_cases[i].has_device);
	}
}

static const struct {
	const char *line;
	const char *memory;
	const char *conflict;
	bool has_kvm, has_vsock;
} memory_cases[] = {
	{ "q", "128M", NULL, false, false },
	{ "q -m 1G", "1G", NULL, false, false },
	{ "q -m 4096", "4096M", NULL, false, false },
	{ "q -m 1.5G,slots=2,maxmem=8G", "1.5G", NULL, false, false },
	{ "q -m slots=2,size=512m", "512m", NULL, false, false },
	{ "q -m lots", "128M", "-m", false, false },
	{ "q -m ,", "128M", "-m", false, false },
	{ "q -numa node", "128M", "-numa", false, false },
	{ "q --mem-path /dev/hugepages", "128M", "--mem-path", false, false },
	{ "q -object memory-backend-ram,id=m,size=1G", "128M", "-object", false, false },
	{ "q -object rng-random,id=r", "128M", NULL, false, false },
	{ "q -machine q35,memory-backend=m", "128M", "-machine", false, false },
	{ "q -incoming defer", "128M", "-incoming", false, false },
	{ "q -enable-kvm -m 2G", "2G", NULL, true, false },
	{ "q -m 2G -enable-kvm", "2G", NULL, true, false },
	{ "q -accel kvm,kernel-irqchip=on", "128M", NULL, true, false },
	{ "q -accel tcg", "128M", NULL, false, false },
	{ "q -machine q35,accel=kvm", "128M", NULL, true, false },
	{ "q -M q35,accel=kvm:tcg", "128M", NULL, true, false },
	{ "q -device vhost-vsock-pci,guest-cid=3", "128M", NULL, false, true },
};

static void the_users_arguments_say_how_the_memory_can_be_shared(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(memory_cases) / sizeof(memory_cases[0]); i++) {
		char error[QEMU_ERROR_SIZE];
		struct qemu_guest guest;

		read_line(memory_cases[i].line, &guest, error, 0);
		assert_string_equal(guest.memory, memory_cases[i].memory);
		assert_int_equal(guest.has_kvm, memory_cases[i].has_kvm);
		assert_int_equal(guest.has_vsock, memory_cases[i].has_vsock);
		if (memory_cases[i].conflict)
			assert_string_equal(guest.memory_conflict, memory_cases[i].conflict);
		else
			assert_null(guest.memory_conflict);
	}
}

static void a_pci_device_without_kvm_has_no_vectors(void **state)
{
	const struct qemu_guest tcg = { .has_kvm = false }, kvm = { .has_kvm = true };

	(void)state;
	assert_string_equal(qemu_vectors_option(&tcg, "virtio-net-pci"), ",vectors=0");
	assert_string_equal(qemu_vectors_option(&tcg, "virtio-net-device"), "");
	assert_string_equal(qemu_vectors_option(&tcg, "virtio-net-ccw"), "");
	assert_string_equal(qemu_vectors_option(&kvm, "virtio-net-pci"), "");
}

static void what_cannot_stay_is_refused(void **state)
{
	static const char *const taken[] = {
		"q -netdev user,id=netfwd0",
		"q --netdev stream,server=off,id=netfwd0,addr.type=fd,addr.str=3",
		"q -netdev {\"type\":\"user\",\"id\":\"netfwd0\"}",
	};
	char error[QEMU_ERROR_SIZE];
	struct qemu_guest guest;

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		read_line(taken[i], &guest, error, -EINVAL);
		assert_string_equal(error,
				    "QEMU's arguments have a -netdev with id=netfwd0 already; that "
				    "is the one netfwd adds: take it out, or name it otherwise");
	}
	read_line("q -m 1G -daemonize", &guest, error, -EINVAL);
	assert_string_equal(error, "QEMU's -daemonize cannot be used: netfwd ends with QEMU, and "
				   "would not see it; run netfwd itself in the background");
}

static const struct {
	const char *text, *quoted;
} quote_cases[] = {
	{ "stream,id=n0,addr.path=/run/x", "stream,id=n0,addr.path=/run/x" },
	{ "", "''" },
	{ "a b", "'a b'" },
	{ "it's", "'it'\\''s'" },
	{ "$(x)", "'$(x)'" },
};

static void text_is_quoted_where_a_shell_would_read_more_into_it(void **state)
{
	char got[32], small[8];

	(void)state;
	for (size_t i = 0; i < sizeof(quote_cases) / sizeof(quote_cases[0]); i++) {
		assert_int_equal(shell_quote(quote_cases[i].text, got, sizeof(got)), 0);
		assert_string_equal(got, quote_cases[i].quoted);
	}
	assert_int_equal(shell_quote("abcdefgh", small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(shell_quote("a b c d e", small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(shell_quote("''''", small, sizeof(small)), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_version_has_its_way_to_connect_again),
		cmocka_unit_test(other_answers_name_no_version),
		cmocka_unit_test(the_arguments_are_the_documented_ones),
		cmocka_unit_test(a_path_that_does_not_fit_is_an_error),
		cmocka_unit_test(the_mac_is_stable_local_and_of_the_name),
		cmocka_unit_test(the_users_arguments_say_what_guest_it_is),
		cmocka_unit_test(the_users_arguments_say_how_the_memory_can_be_shared),
		cmocka_unit_test(a_pci_device_without_kvm_has_no_vectors),
		cmocka_unit_test(what_cannot_stay_is_refused),
		cmocka_unit_test(text_is_quoted_where_a_shell_would_read_more_into_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
