/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/qemu_args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int qemu_version_parse(const char *text, struct qemu_version *out)
{
	static const char before[] = "version ";
	const char *at = strstr(text, before);
	unsigned long major, minor;
	char *dot, *end;

	if (!at)
		return -EINVAL;
	at += sizeof(before) - 1;
	major = strtoul(at, &dot, 10);
	if (dot == at || *dot != '.' || major > 999)
		return -EINVAL;
	minor = strtoul(dot + 1, &end, 10);
	if (end == dot + 1 || minor > 999)
		return -EINVAL;
	*out = (struct qemu_version){ (unsigned int)major, (unsigned int)minor };
	return 0;
}

const char *qemu_reconnect_option(const struct qemu_version *version)
{
	if (version->major > 9 || (version->major == 9 && version->minor >= 2))
		return ",reconnect-ms=500";
	return version->major >= 8 ? ",reconnect=1" : "";
}

struct mac qemu_mac(const char *name, size_t len)
{
	/* 52: locally administered, for one host. FNV-1a, so that the address
	 * is the same in every run. */
	struct mac mac = { { 0x52, 0x4e, 0x46 } };
	uint32_t h = 0x811c9dc5;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 0x01000193;
	mac.b[3] = (uint8_t)(h >> 24 ^ h);
	mac.b[4] = (uint8_t)(h >> 16);
	mac.b[5] = (uint8_t)(h >> 8);
	return mac;
}

__attribute__((format(printf, 2, 3))) static int put_arg(char *out, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(out, QEMU_ARG_SIZE, fmt, ap);
	va_end(ap);
	return len < 0 || len >= QEMU_ARG_SIZE ? -ENAMETOOLONG : 0;
}

/* A comma in a value is written twice. */
static int escape(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text; text++) {
		if (n + 3 > size)
			return -ENAMETOOLONG;
		out[n++] = *text;
		if (*text == ',')
			out[n++] = ',';
	}
	out[n] = '\0';
	return 0;
}

int qemu_netdev_fd(int fd, char out[static QEMU_ARG_SIZE])
{
	return put_arg(out, "stream,id=" QEMU_NETDEV_ID ",server=off,addr.type=fd,addr.str=%d", fd);
}

int qemu_netdev_stream(const char *path, const struct qemu_version *version,
		       char out[static QEMU_ARG_SIZE])
{
	char escaped[256];

	if (escape(path, escaped, sizeof(escaped)) < 0)
		return -ENAMETOOLONG;
	return put_arg(out, "stream,id=" QEMU_NETDEV_ID ",server=off,addr.type=unix,addr.path=%s%s",
		       escaped, qemu_reconnect_option(version));
}

int qemu_netdev_dgram(const char *path, char out[static QEMU_ARG_SIZE])
{
	char escaped[256];

	if (escape(path, escaped, sizeof(escaped)) < 0)
		return -ENAMETOOLONG;
	return put_arg(out,
		       "dgram,id=" QEMU_NETDEV_ID ",local.type=unix,local.path=%s.qemu,"
		       "remote.type=unix,remote.path=%s",
		       escaped, escaped);
}

int qemu_object_memory(const char *size, char out[static QEMU_ARG_SIZE])
{
	return put_arg(out, "memory-backend-memfd,id=" QEMU_MEMORY_ID ",share=on,size=%s", size);
}

int qemu_chardev(const char *id, const char *path, char out[static QEMU_ARG_SIZE])
{
	char escaped[256];

	if (escape(path, escaped, sizeof(escaped)) < 0)
		return -ENAMETOOLONG;
	return put_arg(out, "socket,id=%s,path=%s", id, escaped);
}

/* A socket chardev could always be told to connect again. */
int qemu_chardev_vhost_user(const char *path, const struct qemu_version *version,
			    char out[static QEMU_ARG_SIZE])
{
	const char *reconnect = qemu_reconnect_option(version);
	char escaped[256];

	if (escape(path, escaped, sizeof(escaped)) < 0)
		return -ENAMETOOLONG;
	return put_arg(out, "socket,id=" QEMU_CHARDEV_ID ",path=%s%s", escaped,
		       *reconnect ? reconnect : ",reconnect=1");
}

int qemu_device(const char *model, const struct mac *mac, uint16_t mtu,
		char out[static QEMU_ARG_SIZE])
{
	return put_arg(out,
		       "%s,netdev=" QEMU_NETDEV_ID ",mac=%02x:%02x:%02x:%02x:%02x:%02x,"
		       "host_mtu=%u",
		       model, mac->b[0], mac->b[1], mac->b[2], mac->b[3], mac->b[4], mac->b[5],
		       mtu);
}

int qemu_chardev_fd(int fd, char out[static QEMU_ARG_SIZE])
{
	return put_arg(out, "socket,id=netfwd-agent0,fd=%d", fd);
}

int qemu_serial(const char *model, char out[static QEMU_ARG_SIZE])
{
	return put_arg(out, "virtio-serial%s,id=netfwd-serial0", strrchr(model, '-'));
}

/* The value of key in "a,key=value,b" or in JSON, up to the comma or quote. */
static const char *find_value(const char *list, const char *key, size_t *len)
{
	size_t key_len = strlen(key);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += strspn(at, ",{ \"");
		if (strncmp(at, key, key_len) != 0)
			continue;
		at += key_len;
		at += strspn(at, "\"");
		at += strspn(at, " ");
		if (*at != '=' && *at != ':')
			continue;
		at++;
		at += strspn(at, " \"");
		*len = strcspn(at, ",\"}");
		return at;
	}
	return NULL;
}

static bool has_value(const char *list, const char *key, const char *value)
{
	size_t len;
	const char *found = find_value(list, key, &len);

	return found && len == strlen(value) && strncmp(found, value, len) == 0;
}

/* QEMU takes one dash or two. */
static bool is_option(const char *arg, const char *name)
{
	if (arg[0] != '-')
		return false;
	arg += arg[1] == '-' ? 2 : 1;
	return strcmp(arg, name) == 0;
}

static bool is_machine(const char *value, const char *machine)
{
	size_t len = strlen(machine);

	if (has_value(value, "type", machine))
		return true;
	return strncmp(value, machine, len) == 0 && (value[len] == ',' || value[len] == '\0');
}

/* Where virtio devices are not on PCI. */
static const char *program_model(const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash ? slash + 1 : program;

	return strcmp(name, "qemu-system-s390x") == 0 ? "virtio-net-ccw" : "virtio-net-pci";
}

static void set_name(struct qemu_guest *guest, const char *value)
{
	const char *named = find_value(value, "guest", &guest->name_len);

	guest->name = named ? named : value;
	if (!named)
		guest->name_len = strcspn(value, ",");
}

/* -m's argument: "1G", "4096,slots=2", "size=1G". */
static void read_memory(const char *value, struct qemu_guest *guest)
{
	size_t len;
	const char *size = find_value(value, "size", &len);
	bool has_unit;

	if (!size) {
		size = value;
		len = strcspn(value, ",");
	}
	has_unit = len > 0 && strchr("kKmMgGtT", size[len - 1]);
	if (len == 0 || len > sizeof(guest->memory) - 2 ||
	    strspn(size, "0123456789.") != len - has_unit) {
		guest->memory_conflict = "-m";
		return;
	}
	(void)snprintf(guest->memory, sizeof(guest->memory), "%.*s%s", (int)len, size,
		       has_unit ? "" : "M");
}

/* What decides over the guest's memory by itself, or over its state. */
static void read_conflict(const char *option, const char *value, struct qemu_guest *guest)
{
	static const char *const always[] = { "numa", "mem-path", "incoming", "loadvm",
					      "readconfig" };

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		if (is_option(option, always[i]))
			guest->memory_conflict = option;
	}
	if ((is_option(option, "object") || is_option(option, "machine") ||
	     is_option(option, "M")) &&
	    (strstr(value, "memory-backend") || strstr(value, "memory-encryption") ||
	     strstr(value, "confidential-guest")))
		guest->memory_conflict = option;
}

static void read_accelerator(const char *option, const char *value, struct qemu_guest *guest)
{
	if (is_option(option, "accel") && strncmp(value, "kvm", 3) == 0)
		guest->has_kvm = true;
	if ((is_option(option, "M") || is_option(option, "machine")) &&
	    (has_value(value, "accel", "kvm") || has_value(value, "accel", "kvm:tcg")))
		guest->has_kvm = true;
}

const char *qemu_vectors_option(const struct qemu_guest *guest, const char *model)
{
	size_t len = strlen(model);

	if (guest->has_kvm || len < 4 || strcmp(model + len - 4, "-pci") != 0)
		return "";
	return ",vectors=0";
}

static int read_option(const char *option, const char *value, struct qemu_guest *guest, char *error)
{
	if (is_option(option, "netdev") && has_value(value, "id", QEMU_NETDEV_ID)) {
		(void)snprintf(error, QEMU_ERROR_SIZE,
			       "QEMU's arguments have a -netdev with id=%s already; that is the "
			       "one netfwd adds: take it out, or name it otherwise",
			       QEMU_NETDEV_ID);
		return -EINVAL;
	}
	if (is_option(option, "device") && has_value(value, "netdev", QEMU_NETDEV_ID))
		guest->has_device = true;
	if (is_option(option, "device") && strstr(value, "vsock"))
		guest->has_vsock = true;
	if (is_option(option, "m"))
		read_memory(value, guest);
	read_conflict(option, value, guest);
	read_accelerator(option, value, guest);
	if ((is_option(option, "M") || is_option(option, "machine")) &&
	    is_machine(value, "microvm"))
		guest->model = "virtio-net-device";
	/* A UUID is meant to tell machines apart, so it goes before a name. */
	if (is_option(option, "uuid")) {
		guest->name = value;
		guest->name_len = strlen(value);
		guest->has_uuid = true;
	} else if (is_option(option, "name") && !guest->has_uuid) {
		set_name(guest, value);
	}
	return 0;
}

int qemu_args_read(char *const argv[], struct qemu_guest *out, char error[static QEMU_ERROR_SIZE])
{
	struct qemu_guest guest = {
		.model = program_model(argv[0]),
		.name = "",
		.memory = "128M", /* QEMU's own default */
	};

	for (char *const *arg = argv + 1; *arg; arg++) {
		if (is_option(*arg, "daemonize")) {
			(void)snprintf(error, QEMU_ERROR_SIZE,
				       "QEMU's -daemonize cannot be used: netfwd ends with QEMU, "
				       "and would not see it; run netfwd itself in the background");
			return -EINVAL;
		}
		if (is_option(*arg, "enable-kvm"))
			guest.has_kvm = true;
		if (arg[1] && read_option(arg[0], arg[1], &guest, error) < 0)
			return -EINVAL;
	}
	*out = guest;
	return 0;
}

int shell_quote(const char *text, char *out, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+=:,./@%";
	size_t n = 0;

	if (*text && text[strspn(text, plain)] == '\0')
		return snprintf(out, size, "%s", text) < (int)size ? 0 : -ENAMETOOLONG;
	if (size < 3)
		return -ENAMETOOLONG;
	out[n++] = '\'';
	for (; *text; text++) {
		if (n + 6 > size)
			return -ENAMETOOLONG;
		if (*text == '\'') {
			memcpy(out + n, "'\\''", 4);
			n += 4;
		} else {
			out[n++] = *text;
		}
	}
	out[n++] = '\'';
	out[n] = '\0';
	return 0;
}
