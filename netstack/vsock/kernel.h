/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A vsock whose device is the host kernel's: sockets of AF_VSOCK (vsock(7)). For
 * guests of a VMM that uses /dev/vhost-vsock. */
#include <stdint.h>

#include "netstack/vsock/vsock.h"

struct loop;

/* The guest with that CID, which need not be there yet. -EAFNOSUPPORT where the
 * kernel has no vsock; -errno of socket(2). */
int vsock_kernel_new(struct loop *loop, uint32_t guest_cid, struct vsock **out);
