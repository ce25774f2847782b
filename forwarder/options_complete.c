/* SPDX-License-Identifier: Apache-2.0 */
/* What is decided once all options are known. */
#include <errno.h>
#include <stdio.h>

#include "forwarder/options.h"

int options_check_polling(const struct options *o, char error[static OPTIONS_ERROR_SIZE])
{
	bool has_memory =
		o->link == OPTIONS_LINK_VHOST_USER || o->link == OPTIONS_LINK_QEMU || o->vsock_path;

	for (unsigned int i = 0; i < o->n_links; i++)
		has_memory |= o->links[i].link == OPTIONS_LINK_VHOST_USER;
	if (has_memory || !o->busy_poll_us)
		return 0;
	(void)snprintf(error, OPTIONS_ERROR_SIZE,
		       "--busy-poll or guest.busyPoll is for a guest that shares its memory; "
		       "give --vhost-user or --vsock too, or leave it out");
	return -EINVAL;
}

/* A NIC on a QEMU socket has no scatter-gather to offer, so the guest's kernel makes
 * each frame one piece of memory. Up to 32 KiB that is its usual unit; above, it
 * copies once more: 65520 is a third slower than 32000. */
void options_complete(struct options *o)
{
	bool has_pieces = o->link == OPTIONS_LINK_NETNS || o->link == OPTIONS_LINK_VHOST_USER;

	if (o->vsock_path && !o->vsock_cid)
		o->vsock_cid = OPTIONS_CID_DEFAULT;
	if (o->mtu != 0)
		return;
	if (o->link == OPTIONS_LINK_SHARED)
		o->mtu = OPTIONS_MTU_SHARED;
	else
		o->mtu = has_pieces ? OPTIONS_MTU_MAX : OPTIONS_MTU_QEMU;
}
