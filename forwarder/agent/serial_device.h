/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A serial line to the host that may not be there yet, or may go away and come
 * back: a port of virtio-serial whose driver is loaded later. All on the loop
 * thread. */
struct acceptor_owner;
struct loop;
struct serial_device;

/* How often it is looked for. */
#define SERIAL_DEVICE_RETRY_MS 500

/* name: of a virtio port, as in /sys/class/virtio-ports; a path if it has a slash.
 * Copied. 0 or -ENOMEM. A session of the host is told as a connection. */
int serial_device_new(struct loop *loop, const char *name, const struct acceptor_owner *owner,
		      struct serial_device **out);
void serial_device_free(struct serial_device *device); /* accepts NULL */
